"""The edge of the own pool, given any octets in any pieces: bounded, declared, and never the wrong caller's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perhop.gateway.upstream.own_pool.connection import BUFFER_BYTES
from perhop.gateway.upstream.own_pool.reader import MAX_DRY_BYTES, MAX_HEAD_BYTES
from tests.support.memory_connections import MemoryConnection, Outcome, outcome_of

FUZZED = settings(max_examples=150)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
VALID = (
    OK + b"content-type: application/json\r\ncontent-length: 13\r\n\r\n{'of': 'one'}",
    OK + b"Content-Length: 0\r\n\r\n",
    OK + b"content-length: 4\r\n\r\n\r\n\r\n",
    OK + b"content-length: 4\r\n\r\n{}\r\n",
    CHUNKED + b"4\r\n{'of\r\n9;a=b\r\n': 'one'}\r\n0\r\n\r\n",
    CHUNKED + b"d\r\n{'of': 'one'}\r\n0\r\nx-trailer: 1\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nlink: </x>\r\n\r\n" + OK + b"content-length: 13\r\n\r\n{'of': 'one'}",
    b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n{'of': 'one'}",
    OK + b"connection: close\r\n\r\n{'of': 'one'}",
    OK + b"connection: close\r\ncontent-length: 13\r\n\r\n{'of': 'one'}",
)
_GRAINS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"0\r\n\r\n",
    b"content-length: 3\r\n",
    b"transfer-encoding: chunked\r\n",
    b"\x00",
    OK,
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Answers, valid but for a few changes: octets left out, put in, changed, and another answer behind."""
    octets = b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, len(octets)))
        end = min(len(octets), begin + draw(st.integers(0, 4)))
        octets = octets[:begin] + draw(st.sampled_from(_GRAINS) | st.binary(max_size=3)) + octets[end:]
    return octets


def pieces_of(octets: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(each, len(octets)) for each in cuts} | {0, len(octets)})
    return [octets[begin:end] for begin, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 200), max_size=12)


def exchanged(loop: asyncio.AbstractEventLoop, pieces: list[bytes], *, ends: bool) -> tuple[Outcome | None, bool]:
    """What the caller got, None if it still waits, and whether the next call may use the connection."""
    made = MemoryConnection(loop)
    answer = made.ask()
    made.receive(pieces)
    usable = made.freed == 1 and not made.transport.is_closing()
    if ends:
        made.end()
    reading = loop.create_task(outcome_of(answer))
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    if reading.done():
        outcome = reading.result()
    else:
        reading.cancel()
        loop.run_until_complete(asyncio.wait([reading]))
        outcome = None
    made.end()
    return outcome, usable


@FUZZED
@given(octets=st.binary(max_size=200) | mutated(), cuts=CUTS)
def test_every_answer_has_an_end(loop: asyncio.AbstractEventLoop, octets: bytes, cuts: list[int]) -> None:
    """Whatever comes before a connection ends, the caller has an answer or a declared error then."""
    outcome, _ = exchanged(loop, pieces_of(octets, cuts), ends=True)
    assert outcome is not None
    assert outcome.status or outcome.failure


@FUZZED
@given(octets=st.binary(max_size=200) | mutated(), cuts=CUTS, ends=st.booleans())
def test_how_octets_are_cut_changes_nothing(
    loop: asyncio.AbstractEventLoop, octets: bytes, cuts: list[int], ends: bool
) -> None:
    """The same octets give the same outcome in one piece, in any pieces, and one by one."""
    whole = exchanged(loop, [octets], ends=ends)
    assert exchanged(loop, pieces_of(octets, cuts), ends=ends) == whole
    assert exchanged(loop, pieces_of(octets, list(range(len(octets)))), ends=ends) == whole


@FUZZED
@given(
    first=st.sampled_from(VALID),
    behind=st.binary(max_size=40) | mutated() | st.text("\r\n", max_size=6).map(str.encode) | st.just(b""),
    cuts=CUTS,
)
def test_nothing_behind_an_answer_reaches_the_next_call(
    loop: asyncio.AbstractEventLoop, first: bytes, behind: bytes, cuts: list[int]
) -> None:
    """With octets behind an answer its connection carries no other call; without, the next call gets its own answer."""
    made = MemoryConnection(loop)
    answer = made.ask()
    made.receive(pieces_of(first + behind, cuts))
    if not made.transport.is_closing() and made.freed:
        assert behind == b""
        following = made.ask()
        made.receive([OK + b"content-length: 13\r\n\r\n{'of': 'two'}"])
        assert loop.run_until_complete(outcome_of(following)).body == b"{'of': 'two'}"
    else:
        assert behind != b"" or not made.freed
    made.end()
    assert b"two" not in loop.run_until_complete(outcome_of(answer)).body


@pytest.mark.parametrize("cut", [MAX_HEAD_BYTES // 2, MAX_HEAD_BYTES - 1, MAX_HEAD_BYTES, MAX_HEAD_BYTES + 1, 1 << 20])
@pytest.mark.parametrize(("size", "fits"), [(MAX_HEAD_BYTES, True), (MAX_HEAD_BYTES + 1, False)])
def test_a_head_ends_within_its_bound(loop: asyncio.AbstractEventLoop, cut: int, size: int, fits: bool) -> None:
    """A head of exactly the bound is taken, one octet more is refused, in any pieces and with a body behind."""
    begun, ended = OK + b"content-length: 2\r\nx-filler: ", b"\r\n\r\n"
    octets = begun + b"f" * (size - len(begun) - len(ended)) + ended + b"{}"
    outcome, usable = exchanged(loop, [octets[:cut], octets[cut:]], ends=True)
    assert outcome is not None
    assert (outcome.body, usable) == ((b"{}", True) if fits else (b"", False))


def test_chunks_that_hold_nothing_are_bounded(loop: asyncio.AbstractEventLoop) -> None:
    """An extension or a trailer that never ends is cut off, and nothing is kept of it."""
    for begun in (CHUNKED + b"2;x=", CHUNKED + b"2\r\n{}\r\n0\r\nx-trailer: "):
        made = MemoryConnection(loop)
        answer = made.ask()
        made.receive([begun, *[b"x" * 4096] * (MAX_DRY_BYTES // 4096 + 2)])
        assert made.is_lost
        assert loop.run_until_complete(outcome_of(answer)).failure == "UpstreamUnavailable in the body"


def test_a_slow_reader_stops_the_reading(loop: asyncio.AbstractEventLoop) -> None:
    """With a buffer full of what nobody has taken nothing more is read; once it was taken, reading goes on."""
    made = MemoryConnection(loop)
    answer = made.ask()
    made.receive([CHUNKED])
    sent = 0
    while made.transport.reads:
        made.receive([b"400\r\n" + b"x" * 1024 + b"\r\n"])
        sent += 1024
        assert sent <= 2 * BUFFER_BYTES
    assert len(loop.run_until_complete(answer.__anext__())) == sent
    assert made.transport.reads
    made.receive([b"0\r\n\r\n"])
    assert loop.run_until_complete(outcome_of(answer)).failure == ""
    assert made.freed == 1


def test_a_whole_answer_that_nobody_has_taken_frees_its_connection(loop: asyncio.AbstractEventLoop) -> None:
    """The next call may use the connection, and reading goes on for it; the first answer is read from memory."""
    made = MemoryConnection(loop)
    answer = made.ask()
    made.receive([OK + b"content-length: 100000\r\n\r\n", b"x" * 99_999])
    assert not made.transport.reads
    made.receive([b"x"])
    assert (made.freed, made.transport.reads) == (1, True)
    following = made.ask()
    loop.run_until_complete(answer.close())
    made.receive([OK + b"content-length: 3\r\n\r\ntwo"])
    assert loop.run_until_complete(outcome_of(following)).body == b"two"
    assert len(loop.run_until_complete(outcome_of(answer)).body) == 100_000


def test_an_answer_before_the_whole_request_was_sent_ends_the_connection(loop: asyncio.AbstractEventLoop) -> None:
    """The answer counts; what is left of the request would stand before the next one."""
    made = MemoryConnection(loop)
    answer = made.ask()
    made.transport.unsent = 1
    made.receive([b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}"])
    assert (made.freed, made.is_lost) == (0, True)
    assert loop.run_until_complete(outcome_of(answer)).status == 413


def test_a_connection_carries_one_call_at_a_time(loop: asyncio.AbstractEventLoop) -> None:
    """A second request into a connection that carries a call is a fault of ours, and is not sent."""
    made = MemoryConnection(loop)
    made.ask()
    with pytest.raises(RuntimeError):
        made.ask()
    assert len(made.transport.written) == 1
    made.end()
    with pytest.raises(ConnectionResetError):
        made.ask()


def test_what_comes_before_any_request_closes_the_connection(loop: asyncio.AbstractEventLoop) -> None:
    """A server that speaks first is never sent a request there: its octets would be taken for the answer."""
    made = MemoryConnection(loop)
    made.receive([OK + b"content-length: 3\r\n\r\nbad"])
    with pytest.raises(ConnectionResetError):
        made.ask()
    assert made.transport.written == []


def test_a_caller_who_leaves_when_the_answer_is_whole_ends_nobodys_connection(loop: asyncio.AbstractEventLoop) -> None:
    """The answer has let go of its connection, which carries another call by then."""
    made = MemoryConnection(loop)
    answer = made.ask()
    waiting = loop.create_task(outcome_of(answer))
    loop.run_until_complete(asyncio.sleep(0))
    made.receive([OK + b"content-length: 3\r\n\r\none"])
    following = made.ask()
    waiting.cancel()
    loop.run_until_complete(asyncio.wait([waiting]))
    assert waiting.cancelled()
    answer.abandon()
    made.receive([OK + b"content-length: 3\r\n\r\ntwo"])
    assert loop.run_until_complete(outcome_of(following)).body == b"two"


def test_a_connection_that_breaks_is_no_end_of_a_body(loop: asyncio.AbstractEventLoop) -> None:
    """A body that goes on until the connection ends is whole when it ends in order, and not when it breaks."""
    for error in (None, ConnectionResetError()):
        made = MemoryConnection(loop)
        answer = made.ask()
        made.receive([b"HTTP/1.0 200 OK\r\n\r\n{}"])
        made.connection.connection_lost(error)
        outcome = loop.run_until_complete(outcome_of(answer))
        assert (outcome.body, outcome.failure) == (b"{}", "UpstreamUnavailable in the body" if error else "")
