"""The own pool at real sockets, on either event loop: what it writes, which connections it keeps, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from perhop.core.call import Headers
from perhop.errors import AnswerTooLong, UpstreamUnavailable
from perhop.gateway.upstream.attempts import Patience
from perhop.gateway.upstream.interface import Condition, UpstreamReply
from perhop.gateway.upstream.own_pool.pool import Idle
from perhop.gateway.upstream.own_pool.upstream import OwnHttpUpstream
from perhop.gateway.upstream.tls import tls_trusting
from tests.support.certificates import make_ca
from tests.support.raw_upstreams import OK, Handler, RawServer, raw_server

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"


pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy.:DeprecationWarning")


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> Any:
    """`perhop serve` runs on uvloop where that is installed."""
    return request.param()


@asynccontextmanager
async def way_to(url: str, **bounds: Any) -> AsyncIterator[OwnHttpUpstream]:
    way = OwnHttpUpstream(url, **bounds)
    try:
        yield way
    finally:
        await way.close()


async def read(reply: UpstreamReply) -> bytes:
    try:
        return b"".join([chunk async for chunk in reply.chunks])
    finally:
        await reply.close()


async def post(way: OwnHttpUpstream, body: bytes = b"{}") -> bytes:
    return await read(await way.send("POST", (), body))


class Ended:
    """A handler that answers with what it is given, and tells when its connection has ended."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._ended = asyncio.Event()
        self.unasked: asyncio.Queue[bytes] = asyncio.Queue()

    async def __call__(self, raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in self._answers:
                await raw.take(reader)
                writer.write(answer)
            if self.unasked.qsize():
                writer.write(await self.unasked.get())
            await reader.read()
        finally:
            self._ended.set()

    async def wait(self) -> None:
        """Return when the first of its connections has ended. Raises: TimeoutError if none ends."""
        async with asyncio.timeout(5):
            await self._ended.wait()


async def answer_each(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await raw.take(reader)
        writer.write(OK)


def each_with(answer: bytes) -> Handler:
    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await raw.take(reader)
            writer.write(answer)

    return handler


async def test_a_request_is_what_was_given_and_what_http_needs() -> None:
    """Host and length are ours, all else is as given: nothing is added that a library would add."""
    async with raw_server(answer_each) as (url, raw), way_to(f"{url}/a%2Fb?c=d") as way:
        headers: Headers = (("accept", "a, b"), ("X-A", "é"), ("authorization", "Bearer t"))
        await read(await way.send("POST", headers, b"{}"))
        for http_method in ("GET", "DELETE"):
            await read(await way.send(http_method, headers, b""))
    host = url.split("/")[2].encode()
    given = b"host: " + host + b"\r\naccept: a, b\r\nX-A: \xe9\r\nauthorization: Bearer t\r\n"
    assert raw.requests == [
        b"POST /mcp/a%2Fb?c=d HTTP/1.1\r\n" + given + b"content-length: 2\r\n\r\n{}",
        b"GET /mcp/a%2Fb?c=d HTTP/1.1\r\n" + given + b"\r\n",
        b"DELETE /mcp/a%2Fb?c=d HTTP/1.1\r\n" + given + b"\r\n",
    ]


@pytest.mark.parametrize(
    ("http_method", "header"),
    [
        ("POST", ("x", "1\r\nx-forged: 1")),
        ("POST", ("x", "1\nx-forged: 1")),
        ("POST", ("x", "1\r")),
        ("POST", ("x", "\r\n\r\nGET /forged HTTP/1.1")),
        ("POST", ("x", "\x00")),
        ("POST", ("x", "€")),
        ("POST", ("x\r\nx-forged", "1")),
        ("POST", ("x: 1", "1")),
        ("POST", ("x ", "1")),
        ("POST", ("", "1")),
        ("POST", ("Host", "elsewhere")),
        ("POST", ("Content-Length", "0")),
        ("POST", ("transfer-encoding", "chunked")),
        ("GET", ("content-length", "9")),
        ("POST", ("Connection", "x")),
        ("GET / HTTP/1.1\r\nx: 1\r\n\r\nGET", ("x", "1")),
    ],
    ids=repr,
)
async def test_nothing_that_would_end_a_line_or_a_request_is_sent(http_method: str, header: tuple[str, str]) -> None:
    """What cannot stand in a request is refused before a connection is opened, and says nothing of the upstream."""
    async with raw_server(answer_each) as (url, raw), way_to(url, patience=Patience(circuit_failures=1)) as way:
        for _ in range(2):
            with pytest.raises(UpstreamUnavailable, match=r"(Value|UnicodeEncode)Error"):
                await way.send(http_method, (("accept", "a"), header), b"{}")
        assert raw.connections == 0
        assert await post(way) == b"{}"
    assert all(b"forged" not in each for each in raw.requests)


async def test_the_connection_that_became_free_last_is_used_first() -> None:
    """Of two connections, calls one after another use the same one: the other can become old."""
    users: list[int] = []

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = raw.connections
        while True:
            await raw.take(reader)
            users.append(connection)
            writer.write(OK)

    async with raw_server(handler) as (url, raw), way_to(url) as way:
        await asyncio.gather(post(way), post(way))
        for _ in range(4):
            await post(way)
        assert raw.connections == 2
        assert len(set(users[2:])) == 1


async def test_open_streams_starve_no_call() -> None:
    """With many streams open there is a connection for the next call, and the streams go on."""
    async with raw_server(each_with(STREAM + EVENT)) as (url, raw), way_to(url) as way:
        streams = [await way.send("GET", (), b"") for _ in range(60)]
        assert [await anext(each.chunks) for each in streams] == [b"data: 1\n\n"] * 60
        assert (await way.send("POST", (), b"{}")).status == 200
        assert raw.connections == 61
        for each in streams:
            await each.close()


async def test_only_so_many_connections_wait() -> None:
    """Of three that become free two are kept."""
    ended = Ended(OK)
    async with raw_server(ended) as (url, raw), way_to(url, idle=Idle(most=2)) as way:
        replies = await asyncio.gather(*(way.send("POST", (), b"{}") for _ in range(3)))
        assert [await read(each) for each in replies] == [b"{}"] * 3
        await ended.wait()
        assert (raw.connections, raw.ended) == (3, 1)


async def test_an_idle_connection_is_closed_in_time() -> None:
    """Nobody needs to call for that; what is too old is not used even if it is still there."""
    ended = Ended(OK)
    async with raw_server(ended) as (url, raw):
        async with way_to(url, idle=Idle(seconds=0.05)) as way:
            await post(way)
            await ended.wait()
        async with way_to(url, idle=Idle(seconds=0)) as way:
            assert [await post(way) for _ in range(3)] == [b"{}"] * 3
        assert raw.connections == 4


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 408 Timeout\r\ncontent-length: 0\r\n\r\n", b"\r\n", OK], ids=repr)
async def test_a_connection_on_which_anything_comes_unasked_is_closed(unasked: bytes) -> None:
    """A farewell, or an answer before its call, reaches nobody: the next call goes over another connection."""
    ended = Ended(OK)
    async with raw_server(ended) as (url, raw), way_to(url) as way:
        ended.unasked.put_nowait(unasked)
        await post(way)
        await ended.wait()
        assert await post(way) == b"{}"
        assert raw.connections == 2


@pytest.mark.parametrize("place", ["handshake", "head", "body"])
async def test_a_call_that_is_cancelled_ends_its_connection(place: str) -> None:
    """Wherever it waits: the server sees the end, and the connection carries no other call."""
    answers = {"handshake": (), "head": (), "body": (STREAM + EVENT,)}[place]
    ended = Ended(*answers)
    begun = asyncio.Event()

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if raw.connections > 1:
            await answer_each(raw, reader, writer)
        begun.set()
        await ended(raw, reader, writer)

    async def call(way: OwnHttpUpstream) -> None:
        reply = await way.send("POST", (), b"{}")
        try:
            async for _ in reply.chunks:
                pass
        finally:
            await reply.close()

    async with raw_server(handler) as (url, raw):
        address = url.replace("http:", "https:") if place == "handshake" else url
        async with way_to(address, patience=Patience(circuit_failures=1)) as way:
            calling = asyncio.create_task(call(way))
            async with asyncio.timeout(5):
                await begun.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await ended.wait()
            if place != "handshake":
                assert await post(way) == b"{}"
            assert raw.connections == (1 if place == "handshake" else 2)


async def test_a_handshake_that_does_not_come_is_waited_for_so_long_and_not_begun_again() -> None:
    """The time for a connection is over before that for an answer, or the other way round: each has its error."""
    ended = Ended()
    async with raw_server(ended) as (url, raw):
        for patience, error in (
            (Patience(connect=0.1), UpstreamUnavailable),
            (Patience(connect=60, answer=0.1), AnswerTooLong),
        ):
            async with way_to(url.replace("http:", "https:"), patience=patience) as way:
                with pytest.raises(error):
                    await post(way)
        assert raw.connections == 2


async def test_an_answer_before_the_whole_request_ends_the_connection() -> None:
    """A server that refuses a body without reading it is heard; what is left of the body goes nowhere."""

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if raw.connections > 1:
            await answer_each(raw, reader, writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}")
        await left.wait()

    left = asyncio.Event()
    async with raw_server(handler) as (url, raw), way_to(url) as way:
        reply = await way.send("POST", (), 32 * 1024 * 1024 * b"x")
        assert (reply.status, await read(reply)) == (413, b"{}")
        assert await post(way) == b"{}"
        assert raw.connections == 2
        left.set()


async def test_a_stream_that_nobody_reads_is_not_read_from_the_server() -> None:
    """The server is held back long before it has written all; when the stream is read, all of it comes."""
    size = 64 * 1024 * 1024
    written = 0

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await raw.take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while written < size:
            writer.write(bytes(1024 * 1024))
            written += 1024 * 1024
            await writer.drain()

    async with raw_server(handler) as (url, _), way_to(url) as way:
        reply = await way.send("POST", (), b"{}")
        before = -1
        while before != written:
            before = written
            for _ in range(50):
                await asyncio.sleep(0)
        assert written < size / 2
        assert len(await read(reply)) == size


async def test_close_lets_end_what_runs_and_then_ends_it() -> None:
    """What ends in time is whole; a stream without an end is cut; who comes later is refused, and nothing is sent."""
    released = asyncio.Event()

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await raw.take(reader)
        if body == b"slow":
            await released.wait()
            writer.write(OK)
        else:
            writer.write(STREAM + EVENT)
        await reader.read()

    async with raw_server(handler) as (url, raw), way_to(url) as way:
        slow = asyncio.create_task(post(way, b"slow"))
        while not raw.requests:
            await asyncio.sleep(0)
        closing = asyncio.create_task(way.close(within=30))
        await asyncio.sleep(0)
        released.set()
        assert await slow == b"{}"
        await closing
        # One that was let through just before goes out, over a connection of its own.
        late = await way.send("POST", (), b"stream")
        assert await anext(late.chunks) == b"data: 1\n\n"
        await way.close(within=0)
        with pytest.raises(UpstreamUnavailable):
            await anext(late.chunks)
        with pytest.raises(UpstreamUnavailable, match="closed"):
            await post(way)
        assert len(raw.requests) == 2


async def test_ipv6() -> None:
    """An address in brackets is connected to, and named as Host with them."""
    if not _has_ipv6():
        pytest.skip("no ::1 on this machine")
    async with raw_server(answer_each, host="::1") as (url, raw), way_to(url) as way:
        assert await post(way) == b"{}"
    assert raw.requests[0].split(b"\r\n")[1] == b"host: " + url.split("/")[2].encode()


async def test_a_host_is_looked_up() -> None:
    """A name leads to its addresses; one that leads nowhere is unavailable."""
    async with raw_server(answer_each) as (url, _), way_to(url.replace("127.0.0.1", "localhost")) as way:
        assert await post(way) == b"{}"
    async with way_to("http://nowhere.invalid/mcp") as way:
        with pytest.raises(UpstreamUnavailable):
            await post(way)
        assert way.state.condition is Condition.FAILED


async def test_tls_names_the_host_and_offers_http_1_1(tmp_path: Path) -> None:
    """A certificate for another name is refused before anything is sent; of two protocols the server gets ours."""
    ca, server = make_ca(tmp_path, "localhost")
    named: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: named.append(name)
    server.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        chosen.append(tls.selected_alpn_protocol())
        await answer_each(raw, reader, writer)

    async with raw_server(handler, tls=server) as (url, raw):
        async with way_to(url.replace("127.0.0.1", "localhost"), tls=tls_trusting(ca)) as way:
            assert [await post(way) for _ in range(2)] == [b"{}"] * 2
        assert (named, chosen, raw.connections) == (["localhost"], ["http/1.1"], 1)
        async with way_to(url, tls=tls_trusting(ca)) as way:
            with pytest.raises(UpstreamUnavailable, match="SSLCertVerificationError"):
                await post(way)
        assert len(raw.requests) == 2


async def test_over_tls_the_end_of_a_connection_ends_no_answer(tmp_path: Path) -> None:
    """Whoever cuts the connection could shorten such an answer; one that says how long it is comes through."""
    ca, server = make_ca(tmp_path)
    lengths = [b"", b"content-length: 2\r\n"]

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n" + lengths.pop(0) + b"\r\n{}")

    async with raw_server(handler, tls=server) as (url, _), way_to(url, tls=tls_trusting(ca)) as way:
        with pytest.raises(UpstreamUnavailable, match="over TLS"):
            await post(way)
        assert await post(way) == b"{}"


@pytest.mark.parametrize("url", ["ftp://localhost/", "http://user@localhost/", "/mcp", "http://localhost/a b"])
def test_a_url_that_is_none_of_ours_is_refused(url: str, event_loop_policy: Any) -> None:
    """There is no way to it."""

    async def opened() -> None:
        with pytest.raises(ValueError):
            OwnHttpUpstream(url)

    event_loop_policy.new_event_loop().run_until_complete(opened())


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
