"""Both pools get the same octets, and take them alike; where they do not, the table says why."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from perhop.core.call import Headers
from perhop.core.resource import UpstreamPool
from perhop.errors import UpstreamUnavailable
from tests.support.pools import open_way
from tests.support.raw_upstreams import OK, RawServer, raw_server

L = b"HTTP/1.1 200 OK\r\n"
TWO = b"content-length: 2\r\n\r\n{}"
CHUNKED = L + b"transfer-encoding: chunked\r\n\r\n"
ENDED = b"2\r\n{}\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A whole answer. `keeps`: the next call goes over the same connection. `x`: the values of the header `x`."""

    status: int = 200
    body: bytes = b"{}"
    keeps: bool = True
    x: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """`UpstreamUnavailable`, at the head or in the body; the next call goes over a new connection."""


Outcome = Taken | Refused
REFUSED = Refused()
EMPTY = Taken(body=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the server writes, and whether it closes then; `library` and `why` only where the pools differ."""

    octets: bytes
    own: Outcome
    closes: bool = False
    library: Outcome | None = None
    why: str = ""


def same(octets: bytes, outcome: Outcome, *, closes: bool = False) -> Row:
    return Row(octets=octets, own=outcome, closes=closes)


def differs(octets: bytes, own: Outcome, library: Outcome, why: str, *, closes: bool = False) -> Row:
    return Row(octets=octets, own=own, library=library, why=why, closes=closes)


ONCE = Taken(keeps=False)
TWO_WAYS = "its end could be read in two ways: RFC 9112 §6.3 asks for chunked as the only and last coding"
LENIENT = "RFC 9112 lets a recipient repair it; what is repaired differently elsewhere is how answers are smuggled"
NO_END = "a connection that broke could not be told from the end of the answer"

ROWS: dict[str, Row] = {
    # Chunks.
    "chunks": same(CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", Taken()),
    "a chunk's extension": same(CHUNKED + b'2;a="b;c";d\r\n{}\r\n0;x\r\n\r\n', Taken()),
    "a trailer": same(CHUNKED + b"2\r\n{}\r\n0\r\nx: 1\r\n\r\n", Taken()),
    "a trailer that gives a length": same(CHUNKED + b"2\r\n{}\r\n0\r\ncontent-length: 9\r\n\r\n", REFUSED),
    "a trailer that is none": same(CHUNKED + b"2\r\n{}\r\n0\r\nx t: 1\r\n\r\n", REFUSED),
    "zeros before a size": same(CHUNKED + b"0002\r\n{}\r\n000\r\n\r\n", Taken()),
    "0x before a size": same(CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", REFUSED),
    "a negative size": same(CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", REFUSED),
    "a size beyond 64 bits": same(CHUNKED + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n", REFUSED),
    "a space before a size": same(CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n", REFUSED),
    "a space behind a size": differs(CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n", REFUSED, Taken(), LENIENT),
    "line feeds between chunks": same(CHUNKED + b"2\n{}\n0\n\n", REFUSED),
    "a line feed in an extension": same(CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n", REFUSED),
    "more in a chunk than its size": same(CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n", REFUSED),
    "a chunk that breaks off": same(CHUNKED + b"5\r\n{}", REFUSED, closes=True),
    "no last chunk": same(CHUNKED + b"2\r\n{}\r\n", REFUSED, closes=True),
    "no line behind the last chunk": same(CHUNKED + b"2\r\n{}\r\n0\r\n", REFUSED, closes=True),
    # Transfer codings.
    "CHUNKED": same(L + b"Transfer-Encoding: CHUNKED\r\n\r\n" + ENDED, Taken()),
    "a length, and chunks": same(L + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n" + ENDED, REFUSED),
    "chunks, and a length": same(L + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n" + ENDED, REFUSED),
    "identity": same(L + b"transfer-encoding: identity\r\n" + TWO, REFUSED),
    "gzip until the end": differs(L + b"transfer-encoding: gzip\r\n\r\n{}", REFUSED, ONCE, TWO_WAYS, closes=True),
    "gzip in chunks": differs(L + b"transfer-encoding: gzip, chunked\r\n\r\n" + ENDED, REFUSED, Taken(), TWO_WAYS),
    "chunked in chunks": differs(
        L + b"transfer-encoding: chunked, chunked\r\n\r\n" + ENDED, REFUSED, Taken(), TWO_WAYS
    ),
    "chunked twice": differs(
        L + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + ENDED, REFUSED, Taken(), TWO_WAYS
    ),
    "a control character before chunked": differs(
        L + b"transfer-encoding: \x0bchunked\r\n\r\n" + ENDED, REFUSED, Taken(body=ENDED, keeps=False), TWO_WAYS,
        closes=True,
    ),
    "chunks of HTTP/1.0": differs(
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + ENDED, REFUSED, ONCE,
        "RFC 9112 §6.1: to be taken for faulty framing", closes=True,
    ),
    # Lengths.
    "a length": same(L + TWO, Taken()),
    "a length of nothing": same(L + b"content-length: 0\r\n\r\n", EMPTY),
    "a length with zeros": same(L + b"content-length: 0002\r\n\r\n{}", Taken()),
    "a length between blanks": same(L + b"content-length: \t 2 \t \r\n\r\n{}", Taken()),
    "a length twice": same(L + b"content-length: 2\r\n" + TWO, REFUSED),
    "two lengths": same(L + b"content-length: 3\r\n" + TWO, REFUSED),
    "a list of lengths": same(L + b"content-length: 2, 2\r\n\r\n{}", REFUSED),
    "a length with a sign": same(L + b"content-length: +2\r\n\r\n{}", REFUSED),
    "a negative length": same(L + b"content-length: -2\r\n\r\n{}", REFUSED),
    "a length in hex": same(L + b"content-length: 0x2\r\n\r\n{}", REFUSED),
    "a length of two words": same(L + b"content-length: 2 2\r\n\r\n{}", REFUSED),
    "an empty length": same(L + b"content-length:\r\n\r\n{}", REFUSED),
    "a length beyond 64 bits": same(L + b"content-length: 99999999999999999999999\r\n\r\n{}", REFUSED),
    "less than the length": same(L + b"content-length: 3\r\n\r\n{}", REFUSED, closes=True),
    # Neither.
    "HTTP/1.0 until the end": same(b"HTTP/1.0 200 OK\r\n\r\n{}", ONCE, closes=True),
    "close until the end": same(L + b"connection: close\r\n\r\n{}", ONCE, closes=True),
    "until the end without a word": differs(L + b"\r\n{}", REFUSED, ONCE, NO_END, closes=True),
    "202 without a length": differs(
        b"HTTP/1.1 202 Accepted\r\n\r\n", REFUSED, Taken(status=202, body=b"", keeps=False), NO_END, closes=True
    ),
    # Statuses without a body.
    "204": same(b"HTTP/1.1 204 No Content\r\n\r\n", Taken(status=204, body=b"")),
    "204 with a length": same(b"HTTP/1.1 204 N\r\ncontent-length: 2\r\n\r\n", Taken(status=204, body=b"")),
    "204 with a body": differs(
        b"HTTP/1.1 204 N\r\ncontent-length: 2\r\n\r\n{}", Taken(status=204, body=b"", keeps=False), REFUSED,
        "the answer is whole; what is behind it is nobody's, and closes the connection",
    ),
    "304 with a length": same(b"HTTP/1.1 304 N\r\ncontent-length: 2\r\n\r\n", Taken(status=304, body=b"")),
    "202": same(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", Taken(status=202, body=b"")),
    # Interim answers.
    "103 before the answer": same(b"HTTP/1.1 103 Early\r\nlink: </x>\r\n\r\n" + OK, Taken()),
    "100 before the answer": same(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, Taken()),
    "nine interim answers": differs(
        b"HTTP/1.1 102 Processing\r\n\r\n" * 9 + OK, REFUSED, Taken(), "they are bounded: eight at most"
    ),
    "101": differs(
        b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", REFUSED,
        Taken(status=101, body=b"", keeps=False), "no other protocol was asked for", closes=True,
    ),
    "099": differs(
        b"HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n", REFUSED, Taken(status=99, body=b""), "RFC 9110 §15: 100 to 599"
    ),
    # Heads.
    "302 is not followed": same(
        b"HTTP/1.1 302 F\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", Taken(status=302, body=b"")
    ),
    "gzip is not unpacked": same(L + b"content-encoding: gzip\r\n" + TWO, Taken()),
    "names in capitals": same(L + b"X: B\r\nCONTENT-LENGTH: 2\r\n\r\n{}", Taken(x=("B",))),
    "a header twice": same(L + b"x: 1\r\nx: 2\r\n" + TWO, Taken(x=("1", "2"))),
    "an empty value": same(L + b"x:\r\n" + TWO, Taken(x=("",))),
    "a value with blanks": same(L + b"x: \t a b \t\r\n" + TWO, Taken(x=("a b",))),
    "a value beyond ASCII": differs(
        L + b"x: \xc3\xa9\r\n" + TWO, Taken(x=("Ã©",)), Taken(x=("é",)),
        "the gateway writes headers as latin-1: these octets go back as they came",
    ),
    "a value that is not UTF-8": differs(
        L + b"x: \xe9\r\n" + TWO, Taken(x=("é",)), Taken(x=("\udce9",)), "what the library gives cannot be written"
    ),
    "a folded value": differs(L + b"x: 1\r\n 2\r\n" + TWO, REFUSED, Taken(x=("1 2",)), LENIENT),
    "a control character": differs(L + b"x: a\x01b\r\n" + TWO, REFUSED, Taken(x=("a\x01b",)), LENIENT),
    "NUL": same(L + b"x: \x001\r\n" + TWO, REFUSED),
    "a carriage return in a value": same(L + b"x: a\rb\r\n" + TWO, REFUSED),
    "a space before the colon": same(L + b"x : 1\r\n" + TWO, REFUSED),
    "no name": same(L + b": 1\r\n" + TWO, REFUSED),
    "no colon": same(L + b"x\r\n" + TWO, REFUSED),
    "no reason phrase": same(b"HTTP/1.1 200\r\n" + TWO, Taken()),
    "line feeds only": differs(b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}", REFUSED, Taken(), LENIENT),
    "20 KB in five headers": same(L + 5 * (b"y: " + 4000 * b"y" + b"\r\n") + TWO, Taken()),
    "60 KB in a header": differs(
        L + b"y: " + 60_000 * b"y" + b"\r\n" + TWO, Taken(), REFUSED, "one bound for the whole head: 64 KiB"
    ),
    "70 KB in ten headers": differs(
        L + 10 * (b"y: " + 7000 * b"y" + b"\r\n") + TWO, REFUSED, Taken(), "one bound for the whole head: 64 KiB"
    ),
    "300 headers": same(L + 300 * b"y: y\r\n" + TWO, REFUSED),
    # Versions and status lines.
    "HTTP/1.0": same(b"HTTP/1.0 200 OK\r\n" + TWO, ONCE),
    "HTTP/1.0 that is kept": same(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n" + TWO, Taken()),
    "close": same(L + b"connection: close\r\n" + TWO, ONCE),
    "HTTP/2.0": differs(b"HTTP/2.0 200 OK\r\n" + TWO, REFUSED, ONCE, "its octets would be others"),
    "HTTP/0.9": differs(b"HTTP/0.9 200 OK\r\n" + TWO, REFUSED, ONCE, "it has no head"),
    "HTTP/1.2": same(b"HTTP/1.2 200 OK\r\n" + TWO, REFUSED),
    "a body without a head": same(b"{}", REFUSED, closes=True),
    "http/1.1": same(b"http/1.1 200 OK\r\n" + TWO, REFUSED),
    "a status of two digits": same(b"HTTP/1.1 20 OK\r\n" + TWO, REFUSED),
    "a status of four digits": same(b"HTTP/1.1 2000 OK\r\n" + TWO, REFUSED),
    "two spaces before the status": same(b"HTTP/1.1  200 OK\r\n" + TWO, REFUSED),
    "an empty line before the answer": same(b"\r\n" + OK, Taken()),
    "a line before the answer": same(b"garbage\r\n" + OK, REFUSED),
    "TLS": same(b"\x15\x03\x01\x00\x02\x02\x46", REFUSED),
    "nothing": same(b"", REFUSED, closes=True),
    "half a head": same(L + b"content-ty", REFUSED, closes=True),
    # Behind the answer.
    "another answer behind": same(OK + L + b"content-length: 3\r\n\r\nbad", ONCE),
    "an empty line behind": differs(OK + b"\r\n", ONCE, Taken(), "an octet that belongs to no answer ends the trust"),
    "something behind": differs(OK + b"xx", ONCE, REFUSED, "the answer is whole, however the octets are cut"),
}  # fmt: skip


async def outcome_of(pool: UpstreamPool, row: Row) -> Outcome:
    """Send a call that is answered with these octets, and then another one, which must get its own answer."""

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await raw.take(reader)
            writer.write(row.octets if len(raw.requests) == 1 else OK)
            if len(raw.requests) == 1 and row.closes:
                return

    async with raw_server(handler) as (url, raw), open_way(pool, url) as way, asyncio.timeout(10):

        async def called() -> tuple[int, bytes, Headers] | None:
            try:
                reply = await way.send("POST", (), b"{}")
                try:
                    return reply.status, b"".join([chunk async for chunk in reply.chunks]), reply.headers
                finally:
                    await reply.close()
            except UpstreamUnavailable:
                return None

        first, second = await called(), await called()
        assert second is not None
        assert second[:2] == (200, b"{}")
        if first is None:
            assert raw.connections == 2
            return REFUSED
        status, body, headers = first
        x = tuple(value for name, value in headers if name == "x")
        return Taken(status=status, body=body, keeps=raw.connections == 1, x=x)


@pytest.mark.parametrize("name", ROWS)
async def test_the_own_pool_takes_what_the_library_takes_or_says_why_not(name: str) -> None:
    """The outcome is the same for both, unless the row gives a reason; the next call always gets its own answer."""
    row = ROWS[name]
    assert await outcome_of(UpstreamPool.OWN, row) == row.own
    assert await outcome_of(UpstreamPool.AIOHTTP, row) == (row.library or row.own)
    assert (row.library is None) == (row.why == "")
    assert row.library != row.own


@pytest.mark.parametrize("pool", UpstreamPool)
async def test_octets_beyond_ascii_go_out_as_they_came(pool: UpstreamPool) -> None:
    """A header's text has one character for an octet, as ASGI hands it over; neither pool writes two for it."""

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.take(reader)
        writer.write(OK)

    async with raw_server(handler) as (url, raw), open_way(pool, url) as way, asyncio.timeout(10):
        shared, own = ("user-agent", "caf\u00c3\u00a9"), ("last-event-id", "\u00e2\u0086\u0092 2")
        reply = await way.send("POST", (shared,), b"{}", (own,))
        await reply.close()
    (request,) = raw.requests
    assert b"user-agent: caf\xc3\xa9\r\n" in request
    assert b"last-event-id: \xe2\x86\x92 2\r\n" in request
