"""Every attack of the table, at every door that it is meant for, on one running installation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from perhop.journal.keys import VKEY_FILE, load_vkey
from perhop.journal.query import Filter
from perhop.journal.verify import verify_journal
from perhop.storage.journal_reader import JournalSnapshot
from tests.attacks.catalogue import ROWS
from tests.attacks.row import Door, Row, Seen, Sights
from tests.attacks.world import ARGUMENT, World, attacked, claims_in
from tests.support.leaks.files import Sight
from tests.support.leaks.scan import THE_SCAN

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with attacked(tmp_path_factory.mktemp("attacked")) as running:
        yield running


@pytest.mark.parametrize("row", ROWS, ids=[row.slug for row in ROWS])
async def test_attack(row: Row, world: World) -> None:
    """What the row expects is seen at each of its doors, and gateway and guard answer alike."""
    seen: dict[Door, Sights] = {}
    for door, attempt in row.attempts.items():
        seen[door] = await attempt(world)
        world.tried.add((row.slug, door))
    wrong = [
        (door.value, variant, sight.outcome, row.expected[door].outcome)
        for door, sights in seen.items()
        for variant, sight in sights.items()
        if sight.outcome != row.expected[door].outcome
    ]
    assert wrong == []
    if {Door.GATEWAY, Door.GUARD} <= seen.keys() and not row.differs:
        assert _answers(seen[Door.GATEWAY]) == _answers(seen[Door.GUARD])


def _answers(sights: Sights) -> Mapping[str, Any]:
    """What each variant was told, without what only one of the doors has: its metadata's address, a record's id."""
    return {variant: _told(seen) for variant, seen in sights.items()}


def _told(seen: Seen) -> Any:
    if seen.answer is None or seen.answer.status < 400:
        return seen.observed
    challenge = {name: value for name, value in seen.answer.challenge.items() if name != "resource_metadata"}
    message = seen.answer.message
    if isinstance(message, dict) and isinstance(message.get("error"), dict):
        message["error"].get("data", {}).pop("record", None)
    kept = {name: seen.answer.header(name) for name in ("cache-control", "content-type", "retry-after", "allow")}
    return seen.observed, challenge, message, kept


FORWARDED = {
    *("accept", "accept-encoding", "authorization", "content-length", "content-type", "host", "last-event-id"),
    *("mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id", "traceparent", "user-agent"),
}


async def test_nothing_of_a_caller_has_reached_a_server(world: World) -> None:
    """Of all requests that the gateway sent, each has a token for its own server and headers of the gateway's own.

    And of no token, secret, code or session of the whole run anything has gone out, as relays before the servers saw.
    """
    sent = world.from_gateway()
    for audience, arrived in sent:
        names = {name for name, _ in arrived.headers if not name.startswith("mcp-param-")}
        assert names <= FORWARDED
        if arrived.bearer:
            assert claims_in(arrived.bearer)["aud"] in (audience, *_canaries(world, arrived.bearer))
    secrets = world.leaks.secrets - world.leaks.outbound - {ARGUMENT}
    # Some attacks present a token in its parts, which the server's own token has in common with it.
    presented = {each for each in secrets if each.count(".") == 2 or "eyJ" not in each}
    traces = {name: recordings.traces(presented) for name, recordings in world.sent.items()}
    assert traces == {name: [] for name in world.sent}
    if _all_were_tried(world):
        assert len(presented) > 500, "nothing was looked for"
        assert all(any(each.bearer for each in kept.requests()) for kept in world.sent.values()), (
            "nothing was looked at"
        )


def _all_were_tried(world: World) -> bool:
    return {slug for slug, _ in world.tried} == {row.slug for row in ROWS}


def _canaries(world: World, token: str) -> list[str]:
    """The self-test's audience that is good nowhere."""
    audience = str(claims_in(token)["aud"])
    return [audience] if audience.startswith(f"{world.issuer}/canary/") else []


async def test_nothing_has_leaked(world: World) -> None:
    """No token, secret or argument value of the whole run is in the journal, in a log, or in an answer that refuses.

    Logs and answers were looked at when the test of each had ended; here is what the scan has seen, and the journal.
    """
    THE_SCAN.show_folder(world.folder)
    assert THE_SCAN.leaks() == []
    if _all_were_tried(world):
        assert sum(THE_SCAN.secrets.known().values()) > 500, "nothing was looked for"
        assert THE_SCAN.seen[Sight.RECORD] >= world.reader.size(), "the journal was not looked at"
        assert all(THE_SCAN.seen[each] > 500 for each in (Sight.ANSWER, Sight.LOG)), "nothing was looked at"


async def test_every_log_line_is_one_line(world: World) -> None:
    """What callers sent has forged no line of the log, and no record of the journal."""
    assert [line for line in world.log.lines if "\n" in line.strip() and "Traceback" not in line] == []
    assert [entry.seq for entry in world.reader.find(Filter()) if "\n" in entry.body] == []


async def test_the_journal_of_all_this_verifies(world: World) -> None:
    """After every attack the journal still holds together, and no refusal was only counted."""
    settings = world.plane.settings
    with JournalSnapshot(settings.journal_path) as snapshot:
        found = verify_journal(snapshot, load_vkey(settings.keys_dir / VKEY_FILE))
    assert (found.ok, found.problem) == (True, "")
    assert list(world.reader.find(Filter(event="journal.suppressed"))) == []


async def test_every_attack_was_tried(world: World, request: pytest.FixtureRequest) -> None:
    """Every row that this run selected was tried at each of its doors."""
    mine = [item for item in request.session.items if isinstance(item, pytest.Function)]
    rows: list[Any] = [item.callspec.params["row"] for item in mine if item.originalname == test_attack.__name__]
    selected = {(row.slug, door) for row in rows for door in row.doors}
    assert selected - world.tried == set()
    assert {row.slug for row in ROWS} >= {slug for slug, _ in world.tried}
