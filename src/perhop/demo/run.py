"""The demo from start to end: make an installation, serve it, let the agent work, attack, and look at the journal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from perhop.client import TokenSource
from perhop.control.running import control_socket
from perhop.demo.attacks import ATTACKS
from perhop.demo.configuration import free_addresses, write_configuration
from perhop.demo.outcome import Outcome
from perhop.demo.scene import GuardLog, Scene
from perhop.demo.servers import BookingServer, CalendarServer, RoomsServer, call_tool
from perhop.errors import OperatorError
from perhop.founding import found
from perhop.gateway.readiness import Verdict
from perhop.journal.both_ends import reconcile
from perhop.journal.investigate import HopTree, trace
from perhop.journal.keys import VKEY_FILE, load_vkey
from perhop.journal.query import Filter
from perhop.journal.verify import Verification, verify_journal
from perhop.resource_server import ServerRecords
from perhop.serving.listeners import listening
from perhop.serving.serve import Serving, serving
from perhop.settings import load
from perhop.storage.journal_both_ends import JournalBothEnds
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot

READY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the demo prints. `hops` is the agent's own transaction."""

    steps: tuple[Outcome, ...]
    attacks: tuple[Outcome, ...]
    hops: HopTree
    journal: Verification

    @property
    def ok(self) -> bool:
        return self.journal.ok and all(each.ok for each in (*self.steps, *self.attacks))

    def as_json(self) -> dict[str, Any]:
        """The one object of `--json`."""
        return {
            "steps": [step.as_json() for step in self.steps],
            "attacks": [attack.as_json() for attack in self.attacks],
            "hops": [
                {
                    name: value
                    for name, value in asdict(hop).items()
                    if name in ("txn", "hop", "aud", "sub", "act", "jti")
                }
                for hop in self.hops.hops
            ],
            "journal": {"records": self.journal.records, "verified": self.journal.ok},
            "ok": self.ok,
        }


@contextlib.asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Scene]:
    """The whole installation in one process, on free loopback ports, for as long as the block runs."""
    if (folder / "perhop.yaml").exists():
        raise OperatorError(f"`{folder}` holds an installation", advice="name an empty folder with --data")
    addresses = free_addresses()
    keys = write_configuration(folder, addresses, today=datetime.now(UTC).date())
    await found(folder, environ=os.environ, clock=time.time)
    settings = load(folder / "perhop.yaml", os.environ)
    async with contextlib.AsyncExitStack() as stack:
        guard_log = stack.enter_context(_guard_log())
        tokens = {
            client: await stack.enter_async_context(
                TokenSource(issuer=addresses.issuer, client_id=client, private_key=keys[client])
            )
            for client in ("calendar-server", "rooms-server")
        }
        # One file for each server that would run by itself.
        calendar_records = ServerRecords(tokens["calendar-server"], folder / "calendar-records.db")
        rooms_records = ServerRecords(tokens["rooms-server"], folder / "rooms-records.db")
        booking_records = ServerRecords(tokens["rooms-server"], folder / "booking-records.db")
        calendar = CalendarServer(addresses, tokens["calendar-server"], calendar_records)
        rooms, booking = RoomsServer(addresses, rooms_records), BookingServer(addresses, booking_records)
        servers = {addresses.calendar: calendar.app, addresses.rooms: rooms.app, addresses.booking: booking.app}
        await stack.enter_async_context(listening(servers, lifespan="on"))
        running = await stack.enter_async_context(serving(settings, clock=time.time, control=control_socket))
        await _until_ready(running)
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=30))
        reader = stack.enter_context(JournalQueries(settings.journal_path))
        scene = Scene(
            settings=settings,
            addresses=addresses,
            keys=keys,
            calendar=calendar,
            booking=booking,
            records=(calendar_records, rooms_records, booking_records),
            reader=reader,
            http=http,
            guard_log=guard_log,
            folder=folder,
        )
        yield scene
        for source in scene.sources.values():
            await source.aclose()


@contextlib.contextmanager
def _guard_log() -> Iterator[GuardLog]:
    """What the guards log goes to the demo, and not to the terminal."""
    guard_log = GuardLog()
    logger = logging.getLogger("perhop.resource_server")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(guard_log)
    try:
        yield guard_log
    finally:
        logger.removeHandler(guard_log)
        logger.propagate = True


async def _until_ready(running: Serving) -> None:
    """Wait until the self-test has shown that all servers refuse a token that is good nowhere.

    And until the first check of the revocation bound has ended, so that its guard's refusal is no part of the show.

    Raises: OperatorError
    """
    deadline = time.monotonic() + READY_SECONDS
    figures = running.revocation_check.figures
    while set(seen := running.traffic.verdicts().values()) != {Verdict.ENFORCES} or figures.latest is None:
        if time.monotonic() > deadline:
            raise OperatorError(f"the servers were not seen to check tokens: {', '.join(seen)}")
        await asyncio.sleep(0.05)


async def perform(scene: Scene, tell: Callable[[str], None]) -> Report:
    """The agent's job, then the attacks, then the journal."""
    steps, hops = await _job(scene, tell)
    attacks = []
    for attack in ATTACKS:
        tell(f"trying {attack.id}")
        attacks.append(await attack.try_on(scene))
    await _until_reported(scene)
    tell("verifying the journal")
    with JournalSnapshot(scene.settings.journal_path) as snapshot:
        key = load_vkey(scene.settings.keys_dir / VKEY_FILE)
        verification = snapshot.undisturbed(lambda: verify_journal(snapshot, key))
    return Report(steps=steps, attacks=tuple(attacks), hops=hops, journal=verification)


async def _job(scene: Scene, tell: Callable[[str], None]) -> tuple[tuple[Outcome, ...], HopTree]:
    tell("the agent gets a token for the calendar, and plans a meeting")
    calendar = scene.addresses.resource("calendar")
    mark = scene.reader.size()
    answer = await call_tool(
        calendar,
        scene.source("trip-planner").auth_for(calendar),
        "plan_meeting",
        {"title": "review", "day": "monday", "people": 3},
    )
    await _until_reported(scene)
    await _until_ended(scene)
    issued = scene.reader.find(Filter(first=mark + 1, event="token.issued", client="trip-planner"))
    txn = next(entry.text("txn") or "" for entry in issued)
    found = trace(scene.reader, txn)
    expected = "review on monday in room Ada (monday)"
    steps = [
        Outcome(
            id="job",
            title="the agent plans a meeting, over two hops",
            at="gateway",
            expected=expected,
            observed=answer,
            reason=None,
            ok=answer == expected,
        )
    ]
    wanted = (
        ("token-for-calendar", "the agent's token, for the calendar at the gateway", calendar),
        ("hop-to-calendar-server", "the gateway's, for the calendar server", scene.addresses.calendar_server),
        ("exchange-for-rooms", "the calendar server's, for rooms at the gateway", scene.addresses.resource("rooms")),
        ("hop-to-rooms-server", "the gateway's, for the rooms server", scene.addresses.rooms_server),
    )
    audiences = {hop.hop: hop.aud for hop in found.hops}
    for number, (name, title, audience) in enumerate(wanted, start=1):
        seen = audiences.get(number) or "none"
        at = "sts" if number % 2 else "gateway"
        steps.append(
            Outcome(id=name, title=title, at=at, expected=audience, observed=seen, reason=None, ok=seen == audience)
        )
    return (*steps, _both_ends(scene)), found


async def _until_reported(scene: Scene) -> None:
    """Wait until the journal has what the servers saw.

    Raises: OperatorError
    """
    deadline = time.monotonic() + READY_SECONDS
    while any([await asyncio.to_thread(records.waiting) for records in scene.records]):
        if time.monotonic() > deadline:
            raise OperatorError("the servers' reports did not reach the journal")
        await asyncio.sleep(0.05)


async def _until_ended(scene: Scene) -> None:
    """Wait until the journal has how each call ended, for which no answer waits.

    Raises: OperatorError
    """
    deadline = time.monotonic() + READY_SECONDS
    while await asyncio.to_thread(lambda: any(scene.reader.unfinished())):
        if time.monotonic() > deadline:
            raise OperatorError("the outcome of a call did not reach the journal")
        await asyncio.sleep(0.05)


def _both_ends(scene: Scene) -> Outcome:
    """What the gateway sent is what the servers got."""
    with JournalBothEnds(scene.settings.journal_path) as reader:
        found = reconcile(reader, scene.settings.registry, since=0, until=int(time.time() * 1_000_000))
    apart = len(found.only_server) + len(found.only_gateway) + len(found.seen_again)
    reporting = ", ".join(side.resource for side in found.resources)
    expected = "all calls at both ends; reports of booking, calendar, rooms"
    observed = f"{apart or 'all'} calls at {'one end' if apart else 'both ends'}; reports of {reporting}"
    return Outcome(
        id="both-ends",
        title="what the gateway sent is what the servers report",
        at="journal",
        expected=expected,
        observed=observed,
        reason=None,
        ok=found.ok and observed == expected,
    )
