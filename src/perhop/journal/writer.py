"""The journal's writer: one thread that commits whatever has piled up, so that `append` is durable when it returns.

There is no fixed window: while one commit runs, the next batch gathers; and what one turn of an event loop brings is
offered when the turn is over, together: nobody in that loop could hear the answer before. A commit that fails takes its
whole batch with it, every waiter is told, and the next attempt opens the file anew and goes on from what is really in
it.

What was archived is swept out of the file in small steps, one between two batches.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perhop.errors import JournalDamaged, JournalUnavailable
from perhop.journal.canonical import Draft, draft, format_time
from perhop.journal.checkpoint import CHECKPOINT_RECORDS, sign_checkpoint
from perhop.journal.keys import JournalKey
from perhop.journal.record import Event, Record, RequestFacts
from perhop.journal.recover import resume
from perhop.journal.scheduling import wait_for_the_core
from perhop.journal.store import Cut, JournalStore, Row, SignedTree
from perhop.journal.suppression import RefusalCounter, Suppressed
from perhop.journal.tree import Frontier, leaf_hash
from perhop.journal.waiting import Caller, Patience, Waiting, tell
from perhop.journal.witness import Unwatched, Witness
from perhop.rules.canonical_json import canonical_json

MAX_BATCH = 1024
MAX_WAITING = 16 * 1024

LINGER_SECONDS = 0.02
"""How long a record that nobody waits for may wait for company: the commit of the next record that is awaited takes it
along, and so there are half as many commits. For so long after a batch the writer sleeps lightly, too."""

SWEEP_PAUSE_SECONDS = 0.01
"""Between two steps of the sweep: about as long as one takes, so that records have half of the writer's time."""

_log = logging.getLogger("perhop.journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStatus:
    """How the journal is. `size` is the last durable record, `signed` the size of the last checkpoint.

    `base` is the last archived record: so many are in other files.
    """

    healthy: bool
    size: int
    signed: int
    base: int
    waiting: int
    problem: str


class Journal:
    """The only writer of one journal. Starts its thread; `close` ends it.

    Raises: JournalDamaged, JournalUnavailable
    """

    def __init__(
        self,
        store: JournalStore,
        *,
        key: JournalKey,
        clock: Callable[[], float],
        witness: Witness = Unwatched(),
        checkpoint_seconds: float = 1.0,
        patience_seconds: float = 5.0,
    ) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._witness = witness
        self._checkpoint_seconds = checkpoint_seconds
        self._patience_seconds = patience_seconds
        self._patience_of: dict[asyncio.AbstractEventLoop, Patience] = {}
        # Guards everything down to the blank line; the rest belongs to the writer thread.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sleeps_deep = False
        self._is_wanted = False
        self._noted_at = 0.0
        self._waiting: list[Waiting] = []
        self._awaited = 0
        self._refusals = RefusalCounter()
        self._closing = False
        self._problem = ""
        self._size = 0
        self._signed = 0
        self._base = 0
        self._swept = False

        self._counted: list[Waiting] = []
        self._frontier: Frontier | None = None
        self._note = ""
        self._published = -1
        self._sweep_due = 0.0
        self._resume()
        self._due = time.monotonic() + checkpoint_seconds
        self._thread = threading.Thread(target=self._run, name="perhop-journal", daemon=True)
        self._thread.start()

    # --- for everybody -----------------------------------------------------------------------------------------------

    async def append(self, record: Record) -> int:
        """Record one event; returns its `seq`, and then it is on disk, whatever happens next.

        Cancelling the caller does not take the record back; one that was not written in time may yet be written.

        Raises: JournalUnavailable
        """
        return await self._offer(record)

    def note(self, record: Record) -> None:
        """Take a record for which nobody needs to wait: it stands in its order, and is written before `close` returns.

        Does not say how that went. One that is lost is told to the witness, and counted in the log.

        Raises: JournalUnavailable
        """
        self._take(record, asyncio.get_running_loop(), None, None)

    async def append_all(self, records: Sequence[Record]) -> None:
        """Record these events in this order, however long it takes.

        When this returns, all of them are on disk. When it raises, each is on disk now or never will be: for whoever
        looks in the journal which of them to offer again.

        Raises: JournalUnavailable
        """
        offered: list[asyncio.Future[int]] = []
        try:
            for record in records:
                offered.append(self._offer(record, patiently=True))
        finally:
            outcomes = await asyncio.gather(*offered, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def cut(self, cut: Cut, record: Record) -> int:
        """Let the journal begin later, and record that in the same commit, under a checkpoint of its own.

        Does not look whether the records before are safe elsewhere, which they must be: they are swept out.

        Raises: JournalUnavailable
        """
        return await self._offer(record, cut)

    async def swept(self) -> None:
        """Return when nothing that was archived is left in the file, or the journal is closed."""
        await asyncio.to_thread(self._await_sweep)

    def _await_sweep(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._swept or self._closing)

    def _offer(self, record: Record, cut: Cut | None = None, *, patiently: bool = False) -> asyncio.Future[int]:
        """The place where the `seq` will be told, within the patience that all have, or whenever it is.

        Raises: JournalUnavailable
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        patience = self._take(record, loop, future, cut)
        patience.after_turn(self._write_awaited)
        if not patiently:
            patience.watch(future)
        return future

    def _take(
        self, record: Record, loop: asyncio.AbstractEventLoop, future: asyncio.Future[int] | None, cut: Cut | None
    ) -> Patience:
        patience = self._patience_of.get(loop) or self._patience_in(loop)
        offered = self._witness.offered(record)
        try:
            self._enqueue(Waiting(draft(record, time=self._clock()), Caller(patience, future, offered), cut))
        except JournalUnavailable:
            self._witness.told([offered], is_written=False)
            raise
        return patience

    def _patience_in(self, loop: asyncio.AbstractEventLoop) -> Patience:
        """That of an event loop which is new here; those of loops that are over are forgotten."""
        left = {each: patience for each, patience in self._patience_of.items() if not each.is_closed()}
        patience = left[loop] = Patience(loop, self._patience_seconds, self._witness)
        self._patience_of = left
        return patience

    def _enqueue(self, waiting: Waiting) -> None:
        with self._lock:
            if self._closing:
                raise JournalUnavailable("the journal is closed")
            if len(self._waiting) >= MAX_WAITING:
                raise JournalUnavailable("too many records wait for the journal")
            self._waiting.append(waiting)
            if waiting.is_awaited:
                self._awaited += 1
            elif not self._noted_at:
                self._noted_at = time.monotonic()
                if self._sleeps_deep:
                    self._sleeps_deep = False
                    self._changed.notify_all()

    def _write_awaited(self) -> None:
        """What was offered in a turn of an event loop is waited for from now on."""
        with self._lock:
            if self._awaited and not self._is_wanted:
                self._is_wanted = True
                self._changed.notify_all()

    async def append_refusal(self, record: Record, *, address: str) -> int | None:
        """Record the refusal of a caller whom nobody knows; None if it was only counted, since too many came.

        What was counted becomes one `journal.suppressed` record when the second is over.

        Raises: JournalUnavailable
        """
        with self._changed:
            if self._closing:
                raise JournalUnavailable("the journal is closed")
            is_single = self._refusals.admit(address, record.reason or record.event.value, now=self._clock())
        if not is_single:
            self._witness.counted(record)
            return None
        return await self.append(record)

    def mac(self, arguments: Mapping[str, Any]) -> str:
        """HMAC-SHA-256 over the canonical arguments: equal calls show as equal, no value can be read.

        Raises: ParamsMalformed
        """
        return self._key.mac(canonical_json(arguments))

    @property
    def healthy(self) -> bool:
        """True while the last write succeeded; a journal that failed tries again by itself every second."""
        return self.status().healthy

    def status(self) -> JournalStatus:
        """How the journal is, for readiness and metrics."""
        with self._changed:
            return JournalStatus(
                healthy=not self._problem and not self._closing,
                size=self._size,
                signed=self._signed,
                base=self._base,
                waiting=len(self._waiting),
                problem=self._problem or ("closed" if self._closing else ""),
            )

    async def close(self) -> None:
        """Write what waits, sign a last checkpoint, and let the file go. A second call does nothing more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        await asyncio.to_thread(self._thread.join)

    # --- the writer thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        wait_for_the_core()
        try:
            while not self._turn():
                pass
        finally:
            # Reached by `close`, or by an error of our own, which ends the thread: nobody may wait on it for ever.
            with self._changed:
                self._closing = True
                left, self._waiting = self._waiting, []
            tell(left, "the journal is closed")
            self._store.close()

    def _turn(self) -> bool:
        """Take what has piled up and write it; True when the journal is closed and nothing is left."""
        with self._changed:
            self._sleep()
            size = next((at for at, each in enumerate(self._waiting[:MAX_BATCH], 1) if each.cut), MAX_BATCH)
            batch, self._waiting = self._waiting[:size], self._waiting[size:]
            self._awaited = sum(each.is_awaited for each in self._waiting)
            self._is_wanted, self._noted_at = bool(self._waiting), 0.0
            last = self._closing and not self._waiting
            is_due = last or time.monotonic() >= self._due
            if is_due and not self._counted:
                suppressed = self._refusals.drain(now=None if last else self._clock())
                self._counted = [Waiting(self._suppressed(each)) for each in suppressed]
        if batch or is_due:
            self._write(batch, sign=is_due)
        if is_due:
            self._due = time.monotonic() + self._checkpoint_seconds
        if not last:
            self._sweep()
        return last

    def _sleep(self) -> None:
        """Until there is something to write, to sign or to sweep. Called with the lock.

        Right after a batch the sleep is light: a note that comes now is found without anybody's waking the writer for
        it, just when the answer of its call is on its way.
        """
        began = time.monotonic()
        due = began + self._pause()
        while not (self._closing or self._is_wanted):
            now, noted_at = time.monotonic(), self._noted_at
            look_at = (noted_at or began) + LINGER_SECONDS
            if due <= now or (noted_at and look_at <= now):
                break
            self._sleeps_deep = look_at <= now
            wake_at = due if self._sleeps_deep else min(due, look_at)
            self._changed.wait(None if wake_at == math.inf else wake_at - now)
        self._sleeps_deep = False

    def _pause(self) -> float:
        """How long the thread may sleep: for ever while nothing is unsigned, counted, to be swept or wrong."""
        is_settled = self._frontier is not None and self._frontier.size == self._signed == self._published
        due = [] if self._swept or self._frontier is None else [self._sweep_due]
        # A record that comes after a quiet time is signed with its own batch.
        if not (is_settled and self._refusals.is_idle and not self._counted):
            due.append(self._due)
        return max(0.0, min(due) - time.monotonic()) if due else math.inf

    def _sweep(self) -> None:
        """Take one step, if its time has come. It fails softly: what is left is below the base, and counts no more."""
        if self._swept or self._frontier is None or time.monotonic() < self._sweep_due:
            return
        pause = SWEEP_PAUSE_SECONDS
        try:
            is_done = self._store.sweep()
        except JournalUnavailable as error:
            _log.warning("what was archived could not be swept yet: %s", error)
            # The store let the file go: it is opened anew, now, and not at the next record's cost.
            is_done, pause, self._frontier = False, self._checkpoint_seconds, None
        self._sweep_due = time.monotonic() + pause
        if is_done:
            with self._changed:
                self._swept = True
                self._changed.notify_all()

    def _write(self, batch: Sequence[Waiting], *, sign: bool) -> None:
        every = [*self._counted, *batch]
        try:
            if self._frontier is None:
                self._resume()
            seqs = self._commit(every, sign=sign)
        except (JournalUnavailable, JournalDamaged) as error:
            self._failed(batch, error)
            return
        except BaseException as error:  # an error of our own: told to the waiters, and then it ends the thread
            self._failed(batch, error)
            raise
        with self._changed:
            self._problem = ""
            self._size = self._frontier.size if self._frontier is not None else self._size
            if (cut := _cut_of(every)) is not None:
                self._base, self._swept = cut.base.frontier.size, False
        tell(every, seqs)
        self._counted = []
        if sign:
            self._publish()

    def _commit(self, every: Sequence[Waiting], *, sign: bool) -> Sequence[int]:
        """One transaction; the tree grows only when it has succeeded."""
        assert self._frontier is not None
        rows = []
        for seq, each in enumerate(every, start=self._frontier.size + 1):
            head, tail, facets = each.draft
            body = f'{head},"seq":{seq},{tail}'
            rows.append(Row(seq, body, leaf_hash(body.encode()), facets))
        grown = self._frontier.grown(row.leaf for row in rows)
        unsigned = grown.size - self._signed
        signed = None
        cut = _cut_of(every)
        # After a failure the checkpoint is written again even if nothing is new: that shows that writing works.
        # What a cut file rests on is the record of the cut, so that is never left unsigned.
        if unsigned >= CHECKPOINT_RECORDS or cut is not None or (sign and (unsigned or self._problem)):
            signed = SignedTree(grown, sign_checkpoint(self._key, grown))
        if rows or signed is not None:
            self._store.commit(rows, signed, cut)
        self._frontier = grown
        if signed is not None:
            self._signed = grown.size
            self._note = signed.note
        return [row.seq for row in rows]

    def _resume(self) -> None:
        """Go on from what is in the file, which a failed commit may or may not have reached."""
        tail = self._store.load()
        frontier = resume(tail, self._key.verify_key)
        self._frontier, self._note = frontier, tail.signed.note
        if tail.published == tail.signed.note:
            self._published = tail.signed.frontier.size
        with self._changed:
            self._size, self._signed = frontier.size, tail.signed.frontier.size
            self._base, self._swept = tail.base.frontier.size, tail.base.frontier.size == 0

    def _publish(self) -> None:
        """Put the last checkpoint beside the file. The records are safe without it, so it fails softly."""
        if self._published == self._signed:
            return
        try:
            self._store.publish(self._note)
            self._published = self._signed
        except JournalUnavailable as error:
            _log.warning("the checkpoint could not be published: %s", error)

    def _failed(self, batch: Sequence[Waiting], error: BaseException) -> None:
        self._frontier = None
        self._due = time.monotonic() + self._checkpoint_seconds
        with self._changed:
            was_healthy, self._problem = not self._problem, str(error) or type(error).__name__
        if was_healthy:
            _log.error("the journal cannot be written: %s", error)
        tell(batch, self._problem)

    def _suppressed(self, counted: Suppressed) -> Draft:
        record = Record(
            event=Event.JOURNAL_SUPPRESSED,
            reason=counted.reason,
            request=RequestFacts(ip=counted.address),
            about={"count": counted.count, "first": format_time(counted.first), "last": format_time(counted.last)},
        )
        return draft(record, time=self._clock())


def _cut_of(every: Sequence[Waiting]) -> Cut | None:
    """The cut that is made with these records; a batch ends with the first."""
    return next((each.cut for each in every if each.cut is not None), None)
