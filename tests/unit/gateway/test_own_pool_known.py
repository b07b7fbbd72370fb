"""What the own pool keeps from call to call changes no answer and no request, and holds nothing of one call alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from perhop.core.call import Headers
from perhop.gateway.upstream.own_pool.known_heads import LONGEST_HEAD, MOST_HEADS, KnownHeads
from perhop.gateway.upstream.own_pool.request import LONGEST_KEPT, MOST_KEPT, RequestForm
from tests.support.memory_connections import MemoryConnection, Outcome, outcome_of

FUZZED = settings(max_examples=150)
OK = b"HTTP/1.1 200 OK\r\n"
CALLED = OK + b"content-type: application/json\r\nContent-Length: %d\r\nx: 1\r\n\r\n%s"
BODIES = (b"", b"{}", b"\r\n\r\n", b"\r\ncontent-length: 2\r\n\r\n{}", b"x" * 11, b"x" * 150)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def exchanged(
    loop: asyncio.AbstractEventLoop, heads: KnownHeads, pieces: list[bytes]
) -> tuple[Outcome | None, bool, bool]:
    """What the caller got, None if it still waits; whether the next call may use the connection; whether it is read."""
    made = MemoryConnection(loop, heads)
    answer = made.ask()
    made.receive(pieces)
    usable = made.freed == 1 and not made.transport.is_closing()
    outcome = None
    if answer.arrival.done():
        reading = loop.create_task(outcome_of(answer))
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(0))
        if reading.done():
            outcome = reading.result()
        else:
            reading.cancel()
            loop.run_until_complete(asyncio.wait([reading]))
    reads = made.transport.reads
    made.end()
    return outcome, usable, reads


def answered(body: bytes, head: bytes = CALLED) -> bytes:
    return head % (len(body), body)


@st.composite
def alike(draw: st.DrawFn) -> bytes:
    """An answer that is nearly one of those before."""
    octets = answered(draw(st.sampled_from(BODIES)))
    begin = draw(st.integers(0, len(octets)))
    end = min(len(octets), begin + draw(st.integers(0, 3)))
    grain = st.sampled_from([b"", b"\r\n", b"\r", b"0", b"1", b" ", b"\r\ncontent-length: 2", b"ength: 2", b"\x00"])
    return octets[:begin] + draw(grain | st.binary(max_size=2)) + octets[end:]


@FUZZED
@given(before=st.lists(alike() | st.sampled_from([answered(each) for each in BODIES]), max_size=3), octets=alike())
def test_what_is_known_of_heads_changes_no_answer(
    loop: asyncio.AbstractEventLoop, before: list[bytes], octets: bytes
) -> None:
    """Whatever came before from the same server, the same octets give what they give where nothing came."""
    heads = KnownHeads()
    for each in before:
        exchanged(loop, heads, [each])
    assert exchanged(loop, heads, [octets]) == exchanged(loop, KnownHeads(), [octets])


HALF = OK + b"content-length: %d\r\nx: 1"
FALSE_LENGTH = OK + b"Content-Length:%d\r\n\r\n%s"


@pytest.mark.parametrize(
    ("before", "octets"),
    [
        # Its head has not ended; the number is that of the octets without three, as a search that fails would count.
        (HALF % 2 + b"\r\n\r\n{}", HALF % (len(HALF) - 2) + b"\r"),
        (HALF % 2 + b"\r\n\r\n{}", HALF % 9 + b"\r\n\r\n{}"),
        (HALF % 2 + b"\r\n\r\n{}", HALF % 1 + b"\r\n\r\n{}"),
        (HALF % 2 + b"\r\n\r\n{}", OK + b"content-length: 02\r\nx: 1\r\n\r\n{}"),
        (HALF % 2 + b"\r\n\r\n{}", OK + b"content-length: 2\r\nx: 2\r\n\r\n{}"),
        (HALF % 2 + b"\r\n\r\n{}", b"HTTP/1.1 500 NO\r\ncontent-length: 2\r\nx: 1\r\n\r\n{}"),
        (HALF % 2 + b"\r\n\r\n{}", OK + b"content-length: 2\r\nx: 1\r\nconnection: close\r\n\r\n{}"),
        # What looks like a length stands in the body.
        (
            FALSE_LENGTH % (25, b"\r\ncontent-length: 0\r\n\r\n"[:25] + b"12"),
            FALSE_LENGTH % (25, b"\r\ncontent-length: 3\r\n\r\nabc"[:26]),
        ),
        # What stood behind the answer before says nothing of the next one; and 204 has no body, whatever it says.
        (HALF % 2 + b"\r\n\r\n{}xx", HALF % 2 + b"\r\n\r\n{}"),
        (b"HTTP/1.1 204 N\r\ncontent-length: 2\r\n\r\n{}", b"HTTP/1.1 204 N\r\ncontent-length: 2\r\n\r\n{}"),
        # And in a field of another name.
        (
            OK + b"x-ength: 2\r\ncontent-length: 2\r\n\r\n{}",
            OK + b"x-ength: 3\r\ncontent-length: 2\r\n\r\n{}x",
        ),
    ],
)
def test_an_answer_is_known_as_a_whole_or_not_at_all(
    loop: asyncio.AbstractEventLoop, before: bytes, octets: bytes
) -> None:
    """What only looks like an answer that came before is read by llhttp."""
    heads = KnownHeads()
    exchanged(loop, heads, [before])
    assert exchanged(loop, heads, [octets]) == exchanged(loop, KnownHeads(), [octets])


def test_a_head_that_came_before_is_known_with_another_length(loop: asyncio.AbstractEventLoop) -> None:
    """Which is the use of it."""
    heads = KnownHeads()
    assert heads.find(answered(b"{}")) is None
    exchanged(loop, heads, [answered(b"{}")])
    for body in BODIES:
        found = heads.find(answered(body))
        assert found is not None
        assert found[1] == body
        assert found[0].headers == (("content-type", "application/json"), ("x", "1"))


@pytest.mark.parametrize(
    "line", [b"mcp-session-id: s", b"set-cookie: a=b", b"www-authenticate: Bearer", b"y: " + b"y" * LONGEST_HEAD]
)
def test_what_is_of_one_call_is_not_kept(loop: asyncio.AbstractEventLoop, line: bytes) -> None:
    """A session, a cookie or a challenge is nothing that comes again; and what is long fills no memory."""
    heads, octets = KnownHeads(), OK + line + b"\r\ncontent-length: 2\r\n\r\n{}"
    outcome, usable, _ = exchanged(loop, heads, [octets])
    assert outcome is not None
    assert (outcome.body, usable) == (b"{}", True)
    assert heads.find(octets) is None


def test_so_many_heads_are_kept(loop: asyncio.AbstractEventLoop) -> None:
    """One more, and those before are forgotten."""
    heads = KnownHeads()
    came = [
        answered(b"{}", OK + b"x: %d\r\n" % number + b"content-length: %d\r\n\r\n%s")
        for number in range(MOST_HEADS + 1)
    ]
    for each in came[:-1]:
        exchanged(loop, heads, [each])
    assert heads.find(came[0]) is not None
    exchanged(loop, heads, [came[-1]])
    assert [heads.find(each) is not None for each in (came[0], came[-1])] == [False, True]


NAMES = st.sampled_from(["accept", "user-agent", "mcp-name", "mcp-method", "x", "authorization", "mcp-session-id"])
VALUES = st.sampled_from(["", "a", "b", "a b", "é", "a\r\nb: c", "a\nb", "\x00", "ab"])
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=3).map(tuple)


def rendered(form: RequestForm, request: tuple[str, Headers, bytes, Headers]) -> bytes | str:
    try:
        return form.render(*request)
    except ValueError as error:
        return str(error)


@FUZZED
@given(
    requests=st.lists(
        st.tuples(st.sampled_from(["POST", "GET"]), FIELDS, st.sampled_from([b"", b"{}"]), FIELDS),
        min_size=2,
        max_size=6,
    )
)
def test_a_request_is_written_as_if_it_were_the_first(requests: list[tuple[str, Headers, bytes, Headers]]) -> None:
    """Whatever was written before, a request is what its own method, headers and body say."""
    used, url = RequestForm(URL("http://127.0.0.1/mcp")), URL("http://127.0.0.1/mcp")
    for request in (*requests, *requests):
        assert rendered(used, request) == rendered(RequestForm(url), request)


def test_nothing_of_one_call_is_kept_of_requests() -> None:
    """Neither what is given as a call's own, nor a credential, a session or an argument that stands among the rest."""
    form = RequestForm(URL("http://127.0.0.1/mcp"))
    form.render("POST", (("accept", "seen-again"),), b"{}", (("authorization", "Bearer given-as-own"),))
    for name in ("authorization", "mcp-session-id", "last-event-id", "mcp-param-day", "traceparent"):
        form.render("POST", (("accept", "seen-again"), (name, "of-one-call")), b"{}")
    kept = repr(vars(form))
    assert "seen-again" in kept
    assert "given-as-own" not in kept
    assert "of-one-call" not in kept


def test_what_is_kept_of_requests_has_an_end() -> None:
    """Callers choose headers: neither many nor long ones stay in memory, and all are sent as they are."""
    form = RequestForm(URL("http://127.0.0.1/mcp"))
    for number in range(MOST_KEPT + 3):
        assert b"x-number: %d\r\n" % number in form.render("POST", (("x-number", str(number)),), b"{}")
    long = "a" * LONGEST_KEPT
    assert long.encode() in form.render("POST", (("x-number", long),), b"{}")
    assert 0 < len(form._kept) <= MOST_KEPT
    assert long not in repr(vars(form))
