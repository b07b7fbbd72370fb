"""A mailbox: messages in their order, an end, and a bound that costs its own reader only."""

from __future__ import annotations

import asyncio

import pytest

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.mailbox import MAX_BYTES, MAX_MESSAGES, Mailbox


async def test_messages_come_in_order_and_then_the_end() -> None:
    """What was put in before the end is read before it; what comes later is dropped."""
    mailbox = Mailbox()
    mailbox.put(b"one")
    mailbox.put(b"two")
    mailbox.finish()
    mailbox.put(b"late")
    assert [await mailbox.take() for _ in range(4)] == [b"one", b"two", None, None]
    assert not mailbox.is_open


async def test_a_reader_waits_for_what_comes() -> None:
    """`take` returns as soon as there is something, and loses nothing when its waiting is cut short."""
    mailbox = Mailbox()
    waiting = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    waiting = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    mailbox.put(b"one")
    assert await waiting == b"one"


async def test_what_broke_it_off_is_told_after_what_came_before() -> None:
    """The fact is raised at the end, again and again, and the first one counts."""
    mailbox = Mailbox()
    mailbox.put(b"one")
    mailbox.break_off(UpstreamUnavailable("first"))
    mailbox.break_off(UpstreamUnavailable("second"))
    assert await mailbox.take() == b"one"
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable, match="first"):
            await mailbox.take()


@pytest.mark.parametrize(("count", "size"), [(MAX_MESSAGES, 1), (32, MAX_BYTES // 32)])
async def test_who_reads_too_slowly_loses_the_stream(count: int, size: int) -> None:
    """At the bounds of number and size all is kept; one above, the stream is broken off and nothing is."""
    mailbox = Mailbox()
    for _ in range(count):
        mailbox.put(b"x" * size)
    assert mailbox.is_open
    mailbox.put(b"x")
    assert (mailbox.is_open, mailbox.is_empty) == (False, True)
    with pytest.raises(UpstreamUnavailable, match="too slowly"):
        await mailbox.take()


async def test_what_was_taken_makes_room() -> None:
    """The bound is on what waits, not on what has passed."""
    mailbox = Mailbox()
    for _ in range(3 * MAX_MESSAGES):
        mailbox.put(b"x")
        await mailbox.take()
    assert mailbox.is_open
