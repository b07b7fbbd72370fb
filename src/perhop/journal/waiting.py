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
from perhop.journal.witness import Told

_log = logging.getLogger("perhop.journal")


class Caller(NamedTuple):
    """Who offered a record, and where; `future` is None if nobody waits for it."""

    patience: Patience
    future: asyncio.Future[int] | None
    told: Told


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
    """Tells whoever waits too long in one event loop. All wait equally long, so one timer does for the oldest."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop = loop
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


def tell(every: Sequence[Waiting], answers: Sequence[int | str]) -> None:
    """Wake the waiters, each in its own event loop, one visit to each loop: a text says what went wrong."""
    loops: dict[Patience, list[tuple[Caller, int | str]]] = {}
    for waiting, answer in zip(every, answers, strict=True):
        if (caller := waiting.caller) is not None:
            loops.setdefault(caller.patience, []).append((caller, answer))
    for patience, callers in loops.items():
        try:
            patience.loop.call_soon_threadsafe(_settle, patience, callers)
        except RuntimeError:
            # The loop was closed: nobody waits there any more.
            _log.warning("%d records were written for callers that are gone", len(callers))


def _settle(patience: Patience, answers: Sequence[tuple[Caller, int | str]]) -> None:
    lost = 0
    for (_, future, told), answer in answers:
        is_written = isinstance(answer, int)
        try:
            told(is_written)
        except Exception:  # whoever measures may fail, and whoever waits is answered all the same
            _log.exception("the journal's witness failed")
        if future is None:
            lost += not is_written
        elif future.done():
            continue  # the caller was cancelled, or lost patience
        elif isinstance(answer, int):
            future.set_result(answer)
        else:
            future.set_exception(JournalUnavailable(answer))
    if lost:
        _log.error("%d records for which nobody waited were not written: %s", lost, answers[-1][1])
    patience.forget_done()
