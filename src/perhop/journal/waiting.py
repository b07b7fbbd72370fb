"""Records on their way to the writer, and who waits for them: told in their own event loop, and not for ever."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from perhop.errors import JournalUnavailable
from perhop.journal.canonical import Draft
from perhop.journal.store import Cut
from perhop.journal.witness import Offered, Witness

_log = logging.getLogger("perhop.journal")


class Caller(NamedTuple):
    """Who offered a record, and where; `future` is None if nobody waits for it."""

    patience: Patience
    future: asyncio.Future[int] | None
    offered: Offered


class Waiting(NamedTuple):
    """One record on its way; nobody waits for a counted record."""

    draft: Draft
    caller: Caller | None = None
    cut: Cut | None = None

    @property
    def is_awaited(self) -> bool:
        """True if somebody waits for it."""
        return self.caller is not None and self.caller.future is not None


class Patience:
    """Tells whoever waits too long in one event loop. All wait equally long, so one timer does for the oldest.

    `witness` is told there how it went.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, witness: Witness) -> None:
        self.loop = loop
        self.witness = witness
        self._seconds = seconds
        self._waiting: deque[tuple[float, asyncio.Future[int]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._turn_has_end = False

    def after_turn(self, act: Callable[[], None]) -> None:
        """Do this when what the loop has to do now is done; asked for again before, it is done once."""
        if not self._turn_has_end:
            self._turn_has_end = True
            self.loop.call_soon(self._end_turn, act)

    def _end_turn(self, act: Callable[[], None]) -> None:
        self._turn_has_end = False
        act()

    def watch(self, future: asyncio.Future[int]) -> None:
        """From now on, this one waits."""
        until = self.loop.time() + self._seconds
        self._waiting.append((until, future))
        if self._timer is None:
            self._timer = self.loop.call_at(until, self._look)

    def forget_done(self) -> None:
        """Let go of those at the front who wait no longer."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()

    def _look(self) -> None:
        now = self.loop.time()
        while self._waiting and (self._waiting[0][0] <= now or self._waiting[0][1].done()):
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(JournalUnavailable("the journal did not write in time"))
        self._timer = self.loop.call_at(self._waiting[0][0], self._look) if self._waiting else None


def tell(every: Sequence[Waiting], outcome: Sequence[int] | str) -> None:
    """Wake the waiters, each in its own event loop, one visit to each loop: each with its `seq`, or all with what went
    wrong."""
    seqs = [0] * len(every) if isinstance(outcome, str) else outcome
    loops: dict[Patience, list[tuple[Caller, int]]] = {}
    for waiting, seq in zip(every, seqs, strict=True):
        if (caller := waiting.caller) is not None:
            loops.setdefault(caller.patience, []).append((caller, seq))
    problem = outcome if isinstance(outcome, str) else None
    for patience, callers in loops.items():
        try:
            patience.loop.call_soon_threadsafe(_settle, patience, callers, problem)
        except RuntimeError:
            # The loop was closed: nobody waits there any more.
            _log.warning("%d records were written for callers that are gone", len(callers))


def _settle(patience: Patience, callers: Sequence[tuple[Caller, int]], problem: str | None) -> None:
    try:
        patience.witness.told([caller.offered for caller, _ in callers], is_written=problem is None)
    except Exception:  # whoever measures may fail, and whoever waits is answered all the same
        _log.exception("the journal's witness failed")
    for (_, future, _), seq in callers:
        if future is None or future.done():
            continue  # nobody waits; or the caller was cancelled, or lost patience
        if problem is None:
            future.set_result(seq)
        else:
            future.set_exception(JournalUnavailable(problem))
    if problem is not None and (lost := sum(caller.future is None for caller, _ in callers)):
        _log.error("%d records for which nobody waited were not written: %s", lost, problem)
    patience.forget_done()
