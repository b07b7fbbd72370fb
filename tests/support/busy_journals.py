"""Journals of many records, made quickly: agents at work, written through the store's own commit.

Everything follows from the seed: two journals of one seed and size hold the same records.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from perhop.journal.canonical import draft
from perhop.journal.checkpoint import sign_checkpoint
from perhop.journal.record import (
    CallFacts,
    DecisionFacts,
    Event,
    Inbound,
    Outbound,
    Record,
    RequestFacts,
    ResultFacts,
)
from perhop.journal.store import Row, SignedTree
from perhop.journal.tree import leaf_hash
from perhop.storage.journal_db import JournalDatabase
from tests.support.journals import JournalFolder

BEGINNING = 1_790_000_000.0
SECONDS_BETWEEN = 0.5
BATCH = 5000
AGENTS = tuple(f"agent-{number:02}" for number in range(20))
RESOURCES = tuple(f"server-{number:02}" for number in range(10))
TOOLS = tuple(f"tool_{number:02}" for number in range(30))
CALLS_OF_A_TOKEN = 40
REFUSED_OF_A_HUNDRED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A resource at which work is done: `uri` for clients, `server` for the gateway."""

    name: str
    uri: str
    server: str
    tenant: str = "acme"
    tools: tuple[str, ...] = TOOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """An agent, and where it works: for many people, or in its own name."""

    name: str
    places: tuple[Place, ...]
    has_people: bool = True


_PLACES = tuple(
    Place(name=name, uri=f"https://{name}.example.com/mcp", server=f"https://{name}.example.com/mcp/upstream")
    for name in RESOURCES
)
WORKERS = tuple(Worker(name=name, places=_PLACES) for name in AGENTS)


def network_of_worker(number: int) -> str:
    """The first three numbers of the addresses from which a worker calls."""
    return f"198.51.{number}"


@dataclass(frozen=True, slots=True)
class Filled:
    """What was written: records, and the seconds that the commits took."""

    records: int
    seconds: float


def fill(
    made: JournalFolder,
    count: int,
    *,
    seed: int,
    timer: Callable[[], float],
    workers: Sequence[Worker] = WORKERS,
    beginning: float = BEGINNING,
    tell: Callable[[int], None] = lambda _: None,
) -> Filled:
    """Write this many records to the end of a journal that nobody writes, and sign the last."""
    store = JournalDatabase(made.path)
    try:
        signed = store.load().signed
        frontier, before = signed.frontier, signed.frontier.size
        records = islice(at_work(seed, workers=workers, beginning=beginning), count)
        seconds = 0.0
        while batch := list(islice(records, BATCH)):
            rows = []
            for seq, (time, record) in enumerate(batch, start=frontier.size + 1):
                drafted = draft(record, time=time)
                body = drafted.body(seq)
                rows.append(Row(seq, body, leaf_hash(body.encode()), drafted.facets))
            frontier = frontier.grown(row.leaf for row in rows)
            signed = SignedTree(frontier, sign_checkpoint(made.key, frontier))
            began = timer()
            store.commit(rows, signed)
            seconds += timer() - began
            tell(frontier.size - before)
        store.publish(signed.note)
        return Filled(frontier.size, seconds)
    finally:
        store.close()


def at_work(
    seed: int, *, workers: Sequence[Worker] = WORKERS, beginning: float = BEGINNING
) -> Iterator[tuple[float, Record]]:
    """Records with their times, without end: tokens, the calls made with them, and a refusal now and then."""
    chance = random.Random(seed)
    now = beginning
    while True:
        for record in _token_in_use(chance, workers):
            now += SECONDS_BETWEEN
            yield now, record


def _token_in_use(chance: random.Random, workers: Sequence[Worker]) -> Iterator[Record]:
    # The first agent has about a third of everything: the heaviest question is about it.
    number = int(len(workers) * chance.random() ** 3)
    agent, place = workers[number].name, chance.choice(workers[number].places)
    resource, uri = place.name, place.uri
    jti, onward, txn = (f"{chance.getrandbits(128):022x}"[:22] for _ in range(3))
    request = RequestFacts(
        ip=f"{network_of_worker(number)}.{chance.randrange(1, 20)}", user_agent=f"agent/{chance.randrange(3)}"
    )
    person = f"user:{chance.randrange(500)}"
    inbound = Inbound(
        jti=jti,
        aud=uri,
        sub=person if workers[number].has_people else agent,
        agent=agent,
        client_id=agent,
        scope=f"{resource}:read {resource}:write",
        exp=1_790_000_300,
    )
    outbound = Outbound(
        jti=onward,
        aud=place.server,
        scope=inbound.scope or "",
        exp=1_790_000_060,
        sub=inbound.sub,
        act={"sub": "gateway:perhop"},
    )
    about: dict[str, object] = {"txn": txn, "request": request, "owner": "team", "tenant": place.tenant}
    about |= {"resource": resource, "client": agent}
    issued = Outbound(jti=jti, aud=uri, scope=inbound.scope or "", exp=1_790_000_300, sub=inbound.sub)
    yield Record(event=Event.TOKEN_ISSUED, hop=1, outbound=issued, **about)  # type: ignore[arg-type]
    for each in range(CALLS_OF_A_TOKEN):
        call = CallFacts(
            id=f"{chance.getrandbits(128):032x}",
            method="tools/call",
            name=chance.choice(place.tools),
            arguments_mac=f"{chance.getrandbits(256):043x}",
            revision="2026-07-28",
        )
        facts = {**about, "call": call, "inbound": inbound}
        if chance.randrange(100) < REFUSED_OF_A_HUNDRED:
            reason = chance.choice(("policy.denied", "scope.insufficient", "audience.mismatch"))
            result = ResultFacts(status=403)
            yield Record(event=Event.CALL_REFUSED, hop=1, reason=reason, result=result, **facts)  # type: ignore[arg-type]
            continue
        decision = DecisionFacts(effect="permit", policies=("work",), policy_version="v1")
        facts |= {"hop": 2, "parent_jti": jti, "outbound": outbound}
        yield Record(event=Event.CALL_PERMITTED, decision=decision, **facts)  # type: ignore[arg-type]
        ended = ResultFacts(status=200 if each % 10 else 502, duration_ms=each)
        yield Record(event=Event.CALL_ENDED, result=ended, **facts)  # type: ignore[arg-type]
