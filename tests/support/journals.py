"""Journals for tests: made in a folder, with records that look like real ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from perhop.journal.keys import JournalKey, write_journal_key
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
from perhop.journal.verify import Verification, verify_journal
from perhop.journal.witness import Unwatched, Witness
from perhop.journal.writer import Journal
from perhop.storage.journal_db import create_journal, open_journal
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot

ORIGIN = "127.0.0.1:8420/journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFolder:
    """A folder with `journal.db` and `keys/`, as `perhop init` leaves it."""

    folder: Path
    key: JournalKey

    @property
    def path(self) -> Path:
        return self.folder / "journal.db"

    def open(self, clock: Callable[[], float] = time.time, witness: Witness = Unwatched()) -> Journal:
        """Become the journal's writer; close it at the end, or use `writing`."""
        return open_journal(self.path, key=self.key, clock=clock, witness=witness)

    @asynccontextmanager
    async def writing(
        self, clock: Callable[[], float] = time.time, witness: Witness = Unwatched()
    ) -> AsyncIterator[Journal]:
        """The journal's writer while the block runs."""
        journal = self.open(clock, witness)
        try:
            yield journal
        finally:
            await journal.close()

    def queries(self) -> JournalQueries:
        """A reader; usable while the journal is being written."""
        return JournalQueries(self.path)

    def verify(self, *checkpoints: str) -> Verification:
        """Verify the file as it is now."""
        return self.verify_file(self.path, *checkpoints)

    def verify_file(self, path: Path, *checkpoints: str) -> Verification:
        """Verify another file of this journal."""
        with JournalSnapshot(path) as stored:
            return verify_journal(stored, self.key.verify_key, checkpoints=checkpoints)


def make_journal(folder: Path) -> JournalFolder:
    """An empty journal with its keys in this folder."""
    key = JournalKey.new(ORIGIN)
    keys = folder / "keys"
    keys.mkdir()
    write_journal_key(keys, key)
    made = JournalFolder(folder=folder, key=key)
    create_journal(made.path, key=key)
    return made


def a_permit(number: int = 1, *, txn: str = "txn-1", parent: str | None = None, mac: str | None = None) -> Record:
    """A permit: token `out-N` was got for token `in-N`, or for `parent`, and call `call-N` may go on."""
    return Record(
        event=Event.CALL_PERMITTED,
        txn=txn,
        hop=2,
        parent_jti=parent or f"in-{number}",
        inbound=Inbound(
            jti=parent or f"in-{number}",
            aud="http://127.0.0.1:8420/mcp/calendar",
            sub="trip-planner",
            agent="trip-planner",
            client_id="trip-planner",
            scope="calendar:read",
            exp=1_790_000_300,
        ),
        outbound=Outbound(
            jti=f"out-{number}",
            aud="http://127.0.0.1:9001/mcp",
            scope="calendar:read",
            exp=1_790_000_060,
            sub="trip-planner",
            act={"sub": "gateway:perhop"},
        ),
        call=CallFacts(
            id=f"call-{number}", method="tools/call", name="list_events", arguments_mac=mac, revision="2026-07-28"
        ),
        decision=DecisionFacts(effect="permit", policies=("calendar-readers",), policy_version="v1"),
        request=RequestFacts(ip="127.0.0.1", user_agent="agent/1"),
        owner="travel-team",
        tenant="acme",
        resource="calendar",
        client="trip-planner",
    )


def an_outcome(number: int = 1, *, status: int = 200) -> Record:
    """The outcome of the call of `a_permit(number)`."""
    return Record(
        event=Event.CALL_ENDED,
        call=CallFacts(id=f"call-{number}", method="tools/call", name="list_events"),
        result=ResultFacts(status=status, duration_ms=3),
        resource="calendar",
    )


def a_refusal(reason: str = "token.signature", *, unverified: str | None = "0" * 64) -> Record:
    """A call refused at the door, by a caller whom nobody knows."""
    return Record(
        event=Event.CALL_REFUSED,
        reason=reason,
        inbound=Inbound(unverified=unverified),
        request=RequestFacts(ip="192.0.2.7"),
        resource="calendar",
    )


async def until(condition: Callable[[], bool]) -> None:
    """Give the threads of a journal their turns, at most ten seconds. Raises: AssertionError"""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the journal did not get there")
