"""Server-sent events: cut and read as a client would, however they arrive."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import AnswerUnfit
from perhop.gateway import sse
from perhop.gateway.sse import parse_event, rewrite_event, split_events


async def split(chunks: Sequence[bytes], max_bytes: int = 1000) -> list[bytes]:
    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return [each async for each in split_events(source(), max_bytes=max_bytes)]


_LINE = st.sampled_from([b"data: a", b"data:b", b"id: 7", b": c", b"event: message", b"data", b"retry: 5", b"x: y"])
_EVENT = st.tuples(st.lists(_LINE, min_size=1, max_size=4), st.sampled_from([b"\n", b"\r\n", b"\r"]))


@given(events=st.lists(_EVENT, max_size=5), cuts=st.lists(st.integers(0, 200), max_size=8))
async def test_however_the_octets_come_the_events_are_the_same(
    events: list[tuple[list[bytes], bytes]], cuts: list[int]
) -> None:
    """No octet is lost, and what a client reads does not depend on where the connection cut the stream."""
    octets = b"".join(end.join(lines) + end + end for lines, end in events)
    places = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    chunks = [octets[a:b] for a, b in itertools.pairwise(places)]
    parts = await split(chunks)
    assert b"".join(parts) == octets
    read = [(event.data, event.id) for event in map(parse_event, parts)]
    whole = [(event.data, event.id) for event in map(parse_event, await split([octets]))]
    assert [each for each in read if each != (None, None)] == [each for each in whole if each != (None, None)]


async def test_comments_do_not_wait_for_an_event() -> None:
    """A keep-alive line goes on at once, also without an empty line after it."""
    assert await split([b": ping\n", b"data: a\n", b"\n"]) == [b": ping\n", b"data: a\n\n"]


async def test_what_follows_the_last_event_is_not_lost() -> None:
    """A client drops it, and that is the client's to decide."""
    assert await split([b"data: a\n\ndata: b"]) == [b"data: a\n\n", b"data: b"]


async def test_a_byte_order_mark_is_dropped_in_pieces_too() -> None:
    """It counts at the start of the stream only."""
    assert await split([b"\xef", b"\xbb", b"\xbfdata: a\n\n", b"\xef\xbb\xbfdata: b\n\n"]) == [
        b"data: a\n\n",
        b"\xef\xbb\xbfdata: b\n\n",
    ]


async def test_an_event_has_a_bound() -> None:
    """At the bound it waits for its end, one octet above it is given up."""
    assert await split([b"data: " + b"a" * 94, b"\n\n"], max_bytes=100)
    with pytest.raises(AnswerUnfit):
        await split([b"data: " + b"a" * 95, b"\n\n"], max_bytes=100)


@pytest.mark.parametrize(
    ("raw", "data", "event_id"),
    [
        (b"data: a\ndata: b\n\n", b"a\nb", None),
        (b"data:a\n\n", b"a", None),
        (b"data:  a\n\n", b" a", None),
        (b"data\n\n", b"", None),
        (b"Data: a\n data: b\n\n", None, None),
        (b"id: 1\nid: 2\ndata: a\n\n", b"a", b"2"),
        (b"id: a\x00b\ndata: a\n\n", b"a", None),
        (b": data: a\n\n", None, None),
    ],
)
def test_an_event_is_read_as_a_client_reads_it(raw: bytes, data: bytes | None, event_id: bytes | None) -> None:
    """Names are exact, one blank after the colon goes, several data lines are one text."""
    event = parse_event(raw)
    assert (event.data, event.id) == (data, event_id)


def test_only_what_changes_is_written_anew() -> None:
    """Other lines stay; an event that changes in nothing stays octet for octet."""
    raw = b"event: message\r\nid: 1\r\ndata: a\r\ndata: b\r\nretry: 5\r\n\r\n"
    event = parse_event(raw)
    assert rewrite_event(event, data=None, event_id=None) == raw
    assert rewrite_event(event, data=b"c", event_id=b"2") == b"event: message\nid: 2\ndata: c\nretry: 5\n\n"


async def test_an_event_that_begins_with_a_comment_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each piece of it costs a look at all before it, and a slow upstream the time of everybody."""
    looks: list[int] = []
    look = sse._is_only_comments

    def watched(pending: bytearray) -> bool:
        looks.append(len(pending))
        return look(pending)

    monkeypatch.setattr(sse, "_is_only_comments", watched)
    lines = [b"data: x\n"] * 200
    assert await split([b": c\ndata: x\n", *lines, b"\n: d\n", b"data: y\n\n"], max_bytes=10_000) == [
        b": c\n" + b"data: x\n" * 201 + b"\n",
        b": d\n",
        b"data: y\n\n",
    ]
    assert len(looks) < 5


@pytest.mark.parametrize("line", [b"\r", b":\n", b"data\n"])
def test_an_event_of_very_many_lines_is_refused_before_they_are_read(line: bytes) -> None:
    """A line of an octet costs as much as one of a kilobyte: sixteen megabytes of them would take seconds."""
    assert parse_event(line * sse.MAX_LINE_ENDS).id is None
    with pytest.raises(AnswerUnfit, match="lines"):
        parse_event(line * (sse.MAX_LINE_ENDS + 1))


def test_an_event_of_many_octets_in_few_lines_is_read() -> None:
    """The bound is on lines, not on octets."""
    octets = b"x" * (3 * sse.MAX_LINE_ENDS)
    assert parse_event(b"data: " + octets + b"\n\n").data == octets


async def test_a_chunk_of_very_many_events_leaves_others_their_turn() -> None:
    """What a server writes at once is handed on in portions."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    assert len(await split([b"a\n\n" * 20 * sse.AT_ONCE], max_bytes=100_000)) == 20 * sse.AT_ONCE
    running.cancel()
    assert turns >= 20
