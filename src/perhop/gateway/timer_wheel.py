"""A timer wheel: many waits, one timer of the event loop.

Nearly every wait of the gateway ends long before its time is up. So each costs a step into a dictionary and a step out
of it, and only those that last cost more. A time is up at most RESOLUTION late, and never early.
"""

from __future__ import annotations

import asyncio
import weakref
from types import TracebackType
from typing import Protocol

RESOLUTION = 0.05


class Timed(Protocol):
    def time_is_up(self) -> None:
        """Called once, from the event loop, unless it was taken out before. Must not raise."""
        ...


class TimerWheel:
    """The waits of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not the loop itself: the wheels are kept by their loops.
        self.loop = weakref.ref(loop)
        self._now = loop.time
        self._slots: dict[int, set[Timed]] = {}
        self._is_turning = False
        self._turned_to = 0

    def add(self, timed: Timed, seconds: float) -> int:
        """Call it when its time is up; returns what `discard` wants to know."""
        now = self._now()
        slot = int((now + seconds) / RESOLUTION) + 1
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = {timed}
        else:
            waiting.add(timed)
        if not self._is_turning:
            self._turned_to = int(now / RESOLUTION)
            self._turn_later()
        return slot

    def discard(self, timed: Timed, slot: int) -> None:
        """Take it out; nothing happens if its time was up already."""
        waiting = self._slots.get(slot)
        if waiting is not None:
            waiting.discard(timed)
            if not waiting:
                del self._slots[slot]

    def _turn_later(self) -> None:
        loop = self.loop()
        self._is_turning = loop is not None
        if loop is not None:
            loop.call_later(RESOLUTION, self._turn)

    def _turn(self) -> None:
        before, self._turned_to = self._turned_to, int(self._now() / RESOLUTION)
        due = range(before + 1, self._turned_to + 1)
        # After a long sleep there are more slots that were passed than slots that hold anything.
        passed = [slot for slot in due if slot in self._slots] if len(due) < 1000 else self._all_until(self._turned_to)
        for slot in passed:
            for timed in self._slots.pop(slot, ()):
                timed.time_is_up()
        if self._slots:
            self._turn_later()
        else:
            self._is_turning = False

    def _all_until(self, last: int) -> list[int]:
        return sorted(slot for slot in self._slots if slot <= last)


_wheels: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, TimerWheel] = weakref.WeakKeyDictionary()


_last_asked_for: list[TimerWheel] = []
"""At most one: a process has one loop as a rule, and asks three times a call."""


def timer_wheel(running: asyncio.AbstractEventLoop | None = None) -> TimerWheel:
    """The wheel of the running event loop, for whoever knows it or does not."""
    loop = running or asyncio.get_running_loop()
    for last in _last_asked_for:
        if last.loop() is loop:
            return last
    wheel = _wheels.get(loop) or TimerWheel(loop)
    _wheels[loop] = wheel
    _last_asked_for[:] = [wheel]
    return wheel


class within:
    """`with within(SECONDS):` what is awaited inside is cancelled when the time is up, and TimeoutError comes out.

    As `asyncio.timeout`, and a cancellation from outside stays one.
    """

    __slots__ = ("_cancelling", "_is_up", "_seconds", "_slot", "_task", "_wheel")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_up = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is a task's")
        self._task = task
        self._cancelling = task.cancelling()
        self._wheel = timer_wheel()
        self._slot = self._wheel.add(self, self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_up:
            self._wheel.discard(self, self._slot)
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def time_is_up(self) -> None:
        """Called by the wheel."""
        self._is_up = True
        self._task.cancel()
