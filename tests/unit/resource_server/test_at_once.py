"""A coroutine that is begun without a clock, and gone on with under one."""

from __future__ import annotations

import asyncio

import pytest

from perhop.resource_server.at_once import AtOnce, Waiting, begin


async def test_what_does_not_wait_is_done_at_once() -> None:
    """Its value is there; what it raises is raised."""

    async def value() -> int:
        return 7

    async def wrong() -> int:
        raise ValueError("wrong")

    assert begin(value()) == AtOnce(7)
    with pytest.raises(ValueError, match="wrong"):
        begin(wrong())


async def test_what_waits_is_gone_on_with() -> None:
    """However often it waits; its value comes, or what it raises."""
    loop = asyncio.get_running_loop()
    first, other, second = loop.create_future(), loop.create_future(), asyncio.Event()

    async def waits() -> str:
        said: str = await first
        await second.wait()
        return said

    async def fails() -> None:
        await other
        raise ValueError("wrong")

    waiting, failing = begin(waits()), begin(fails())
    assert isinstance(waiting, Waiting)
    assert isinstance(failing, Waiting)
    loop.call_soon(first.set_result, "said")
    loop.call_soon(second.set)
    loop.call_soon(other.set_result, None)
    assert await waiting == "said"
    with pytest.raises(ValueError, match="wrong"):
        await failing


async def test_the_end_of_time_is_the_coroutines_to_see() -> None:
    """A cancellation while it waits reaches the coroutine, which may tidy up; the clock then says what happened."""
    seen: list[str] = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    waiting = begin(for_ever())
    assert isinstance(waiting, Waiting)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await waiting
    assert seen == ["cancelled"]


async def test_a_coroutine_that_goes_on_after_a_cancellation() -> None:
    """What it answers to the cancellation counts, also where it waits again before."""

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "done all the same"

    waiting = begin(stubborn())
    assert isinstance(waiting, Waiting)

    async def on_a_task() -> str:
        return await waiting

    task = asyncio.create_task(on_a_task())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "done all the same"
