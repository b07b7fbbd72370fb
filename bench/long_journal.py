"""A long journal, made once and kept in .cache/bench: what questions about a long past are asked of.

Everything follows from the number of records and the seed. A block of records is that of tests/support/busy_journals,
written down as the writer writes. Every further block says the same of other tokens, transactions and calls, later:
ids and times are changed in the text, which is several times faster, and each row goes through the store's own commit.
In the middle there is one token with very many calls. The indexes are made when it is full, as the writer makes them
for a file of an earlier version: by the same statements, a little denser than those that grew.

A record takes about 1.5 KB: ten million want 15 GB of disk.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count as count_up
from itertools import islice
from pathlib import Path

from perhop.journal.canonical import draft
from perhop.journal.checkpoint import sign_checkpoint
from perhop.journal.facets import Facets, format_microseconds
from perhop.journal.keys import load_journal_key
from perhop.journal.record import Event, Inbound, Outbound, Record, ResultFacts
from perhop.journal.store import Row, SignedTree
from perhop.journal.tree import Frontier, leaf_hash
from perhop.storage.journal_db import JournalDatabase
from perhop.storage.journal_schema import FACET_INDEXES, INDEXES, VERSION
from tests.support import busy_journals
from tests.support.busy_journals import AGENTS, BEGINNING, SECONDS_BETWEEN, at_work
from tests.support.journals import JournalFolder, make_journal
from tests.support.sources import ROOT

CACHE = ROOT / ".cache" / "bench" / "journals"
SEED = 1
BLOCK = 100_000
BUSY_TOKEN = "busy-token-of-the-bench"
"""Its transaction, and the tokens that it became, begin with `busy`, too."""
BUSY_CALLS = 5_000
"""Calls of the busiest token: a call a second for well over an hour."""

_BATCH = 20_000
_PREFIX, _TIME = "\x00", "\x01"
_PREFIX_LENGTH = 4
_READY = "ready"


def long_journal(
    records: int, *, tell: Callable[[str], None], place: Path = CACHE, block: int = BLOCK, busy: int = BUSY_CALLS
) -> JournalFolder:
    """A journal with so many records. Not to be written to: it is used again."""
    folder = place / f"{records}-{_key()}"
    if not (folder / _READY).exists():
        for old in place.glob(f"{records}-*"):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        tell(f"making a journal of {records:,} records, once")
        _fill(make_journal(folder), islice(written_rows(records, block=block, busy=busy), records), tell=tell)
        (folder / _READY).touch()
    return JournalFolder(folder=folder, key=load_journal_key(folder / "keys"))


def _key() -> str:
    """Another seed, format or generator makes another journal."""
    sources = inspect.getsource(busy_journals) + Path(__file__).read_text(encoding="utf-8")
    return hashlib.sha256(f"{VERSION} {SEED} {sources}".encode()).hexdigest()[:16]


def _fill(made: JournalFolder, coming: Iterator[Row], *, tell: Callable[[str], None]) -> None:
    began = time.monotonic()
    # Nothing here needs to survive a crash, so nothing is written twice, to a log and from there to the file.
    _execute(made.path, [*(f"DROP INDEX facet_{name}" for name in INDEXES), "PRAGMA journal_mode = DELETE"])
    store = JournalDatabase(made.path)
    try:
        signed = store.load().signed
        frontier: Frontier = signed.frontier
        while batch := list(islice(coming, _BATCH)):
            frontier = frontier.grown(row.leaf for row in batch)
            signed = SignedTree(frontier, sign_checkpoint(made.key, frontier))
            store.commit(batch, signed)
            if frontier.size % 1_000_000 == 0:
                tell(f"{frontier.size:,} records after {time.monotonic() - began:.0f} s")
        store.publish(signed.note)
    finally:
        store.close()
    _execute(
        made.path,
        ["PRAGMA temp_store = FILE", "PRAGMA cache_size = -262144", *FACET_INDEXES, "PRAGMA journal_mode = WAL"],
    )
    tell(f"made in {time.monotonic() - began:.0f} s")


def _execute(path: Path, statements: list[str]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in statements:
            connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def written_rows(count: int, *, block: int = BLOCK, busy: int = BUSY_CALLS) -> Iterator[Row]:
    """Rows without end: the block over and over, and after about half of `count` the busy token, once."""
    patterns = [_Pattern.of(record, moment) for moment, record in islice(at_work(SEED), min(count // 2, block))]
    seconds, seq, is_due = len(patterns) * SECONDS_BETWEEN, 1, True
    for number in count_up():
        later = int(number * seconds) * 1_000_000
        for pattern in patterns:
            yield pattern.row(seq, f"{number:04x}", later)
            seq += 1
        if is_due and 2 * seq > count:
            is_due = False
            for moment, record in _busy_token(BEGINNING + (number + 1) * seconds, busy):
                yield _Pattern.of(record, moment).row(seq, "busy", 0)
                seq += 1


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A record of the block, but for its number, its time and the first four characters of each id."""

    head: str
    tail: str
    facets: Facets
    ids: tuple[str | None, ...]

    @classmethod
    def of(cls, record: Record, moment: float) -> _Pattern:
        drafted = draft(record, time=moment)
        facets, mac = drafted.facets, record.call.arguments_mac if record.call is not None else None
        assert facets.time is not None
        head, tail = drafted.head, drafted.tail.replace(format_microseconds(facets.time), _TIME)
        ids = (facets.txn, facets.in_jti, facets.out_jti, facets.call_id)
        for each in filter(None, {*ids, mac, record.parent_jti}):
            marked = f"{_PREFIX}{each[_PREFIX_LENGTH:]}"
            head, tail = head.replace(each, marked), tail.replace(each, marked)
        return cls(head, tail, facets, tuple(each and each[_PREFIX_LENGTH:] for each in ids))

    def row(self, seq: int, prefix: str, later: int) -> Row:
        """The record with this number, so many microseconds later, its ids with this prefix."""
        facets = self.facets
        moment = (facets.time or 0) + later
        tail = self.tail.replace(_PREFIX, prefix).replace(_TIME, format_microseconds(moment))
        body = f'{self.head.replace(_PREFIX, prefix)},"seq":{seq},{tail}'
        txn, came, went, call = (each and prefix + each for each in self.ids)
        return Row(
            seq,
            body,
            leaf_hash(body.encode()),
            facets._replace(time=moment, txn=txn, in_jti=came, out_jti=went, call_id=call),
        )


def _busy_token(moment: float, calls: int) -> Iterator[tuple[float, Record]]:
    """One token's permits and their ends; like those of any other call, but for the token."""
    like = next(record for _, record in at_work(SEED) if record.event is Event.CALL_PERMITTED)
    assert like.inbound is not None
    assert like.outbound is not None
    assert like.call is not None
    outbound: Outbound = replace(like.outbound, jti=f"{BUSY_TOKEN}-onward")
    inbound: Inbound = replace(like.inbound, jti=BUSY_TOKEN, agent=AGENTS[0], client_id=AGENTS[0])
    for number in range(calls):
        call = like.call._replace(id=f"{number:032x}")
        facts = {"call": call, "inbound": inbound, "outbound": outbound, "parent_jti": BUSY_TOKEN}
        facts |= {"txn": "busy-transaction", "client": AGENTS[0]}
        yield moment, like._replace(**facts)  # type: ignore[arg-type]
        ended = {"event": Event.CALL_ENDED, "decision": None, "result": ResultFacts(status=200, duration_ms=3)}
        yield moment, like._replace(**facts, **ended)  # type: ignore[arg-type]
        moment += 2 * SECONDS_BETWEEN
