"""Many waits on one timer: none is up early, none is forgotten, and a cancellation from outside stays one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from perhop.gateway.timer_wheel import RESOLUTION, TimerWheel, timer_wheel, within


class _Loop:
    """A loop whose time is ours: `turn_to` lets it pass and calls what is due."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append((self.now + seconds, call))

    def turn_to(self, now: float) -> None:
        while self.later and min(self.later)[0] <= now:
            due = min(self.later, key=lambda each: each[0])
            self.later.remove(due)
            self.now = max(self.now, due[0])
            due[1]()
        self.now = now


class _Wait:
    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self.up_at: list[float] = []

    def time_is_up(self) -> None:
        self.up_at.append(self._loop.now)


@pytest.mark.parametrize("seconds", [0.0, 0.01, RESOLUTION, 1.0, 600.0])
def test_a_time_is_up_once_and_never_early(seconds: float) -> None:
    """It comes within two turns of the wheel after it is due, once, and not before."""
    loop = _Loop()
    wheel, wait = TimerWheel(loop), _Wait(loop)  # type: ignore[arg-type]
    began = loop.now
    wheel.add(wait, seconds)
    loop.turn_to(began + seconds + 3 * RESOLUTION)
    assert len(wait.up_at) == 1
    assert began + seconds <= wait.up_at[0] <= began + seconds + 2 * RESOLUTION + 1e-6


def test_what_was_taken_out_is_not_called_and_leaves_nothing() -> None:
    """A wait that ended is forgotten, and a wheel without waits stops turning."""
    loop = _Loop()
    wheel, wait, other = TimerWheel(loop), _Wait(loop), _Wait(loop)  # type: ignore[arg-type]
    slot = wheel.add(wait, 1.0)
    wheel.add(other, 1.0)
    wheel.discard(wait, slot)
    loop.turn_to(1010.0)
    assert (wait.up_at, len(other.up_at)) == ([], 1)
    assert loop.later == []
    wheel.discard(other, slot)
    wheel.add(wait, 0.1)
    loop.turn_to(1020.0)
    assert len(wait.up_at) == 1


def test_after_a_long_sleep_everything_that_is_due_is_up() -> None:
    """A loop that stood still for an hour has passed more slots than it looks at one by one."""
    loop = _Loop()
    wheel = TimerWheel(loop)  # type: ignore[arg-type]
    waits = [_Wait(loop) for _ in range(50)]
    for number, wait in enumerate(waits):
        wheel.add(wait, number * 10.0)
    loop.now += 3600.0
    loop.turn_to(loop.now + 1.0)
    assert [len(wait.up_at) for wait in waits] == [1] * 50


async def test_what_takes_too_long_is_cancelled_and_says_so() -> None:
    """TimeoutError comes out, the step was cancelled, and the task goes on as if nothing had been."""
    was_cancelled = False

    async def step() -> None:
        nonlocal was_cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled = True
            raise

    with pytest.raises(TimeoutError), within(0.01):
        await step()
    task = asyncio.current_task()
    assert task is not None
    assert (was_cancelled, task.cancelling()) == (True, 0)
    await asyncio.sleep(0)


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Who is cancelled inside a deadline ends cancelled, whether or not the time is up as well."""

    async def wait() -> None:
        with within(0.02):
            await asyncio.Event().wait()

    early = asyncio.create_task(wait())
    await asyncio.sleep(0)
    early.cancel()
    late = asyncio.create_task(wait())
    await asyncio.sleep(0)
    timer_wheel().add(_Cancelling(late), 0.02)
    results = await asyncio.gather(early, late, return_exceptions=True)
    assert [type(each) for each in results] == [asyncio.CancelledError, asyncio.CancelledError]


async def test_a_step_in_time_is_left_alone() -> None:
    """What was there in time gives its result, and nobody is cancelled afterwards."""
    with within(0.01):
        result = await asyncio.sleep(0, "there")
    ended = asyncio.Event()
    timer_wheel().add(_Setting(ended), 0.1)
    await ended.wait()
    assert result == "there"


class _Cancelling:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def time_is_up(self) -> None:
        self._task.cancel()


class _Setting:
    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def time_is_up(self) -> None:
        self._event.set()
