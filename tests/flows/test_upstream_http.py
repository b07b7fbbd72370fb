"""The way to an upstream over HTTP, at real sockets: what is tried again, what never is, and when it is left alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from perhop.core.resource import UpstreamPool
from perhop.errors import AnswerTooLong, UpstreamUnavailable
from perhop.gateway.upstream.attempts import Patience
from perhop.gateway.upstream.interface import Condition, OpenUpstream, UpstreamReply
from perhop.gateway.upstream.tls import tls_trusting
from tests.support.certificates import make_ca
from tests.support.pools import open_way
from tests.support.raw_upstreams import OK, Handler, RawServer, raw_server

BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
HEADERS = (("content-type", "application/json"),)


WayTo = Callable[..., AbstractAsyncContextManager[OpenUpstream]]


async def answer_each(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await raw.take(reader)
        writer.write(OK)


async def answer_one(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await raw.take(reader)
    writer.write(OK)


async def break_after_the_request(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await raw.take(reader)
    writer.transport.abort()


async def never_answer(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await raw.take(reader)
    await reader.read()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=list(UpstreamPool), ids=str)
def way_to(request: pytest.FixtureRequest) -> WayTo:
    """A way to a URL, with either pool."""
    return partial(_way_to, request.param)


@asynccontextmanager
async def _way_to(
    pool: UpstreamPool,
    url: str,
    *,
    patience: Patience = Patience(),
    tls: ssl.SSLContext | None = None,
    monotonic: Clock | None = None,
) -> AsyncIterator[OpenUpstream]:
    async with open_way(pool, url, patience=patience, tls=tls, monotonic=monotonic or Clock()) as way:
        yield way


async def body_of(reply: UpstreamReply) -> bytes:
    try:
        return b"".join([chunk async for chunk in reply.chunks])
    finally:
        await reply.close()


async def post(way: OpenUpstream) -> bytes:
    return await body_of(await way.send("POST", HEADERS, BODY))


async def test_a_connection_is_used_again(way_to: WayTo) -> None:
    """Calls one after another share a connection that was read to its end."""
    async with raw_server(answer_each) as (url, raw), way_to(url) as way:
        assert [await post(way) for _ in range(3)] == [b"{}"] * 3
        assert (raw.connections, len(raw.requests)) == (1, 3)
        assert way.state.condition is Condition.UP


async def test_a_port_where_nothing_listens_is_unavailable(way_to: WayTo) -> None:
    """A refused connection is the fact that the upstream is unavailable, whatever the second try meets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with way_to("http://{}:{}/mcp".format(*taken.getsockname())) as way:
            with pytest.raises(UpstreamUnavailable):
                await post(way)
            assert way.state.condition is Condition.FAILED
            assert way.state.problem in ("ClientConnectorError", "ConnectionRefusedError")


async def test_a_connection_that_did_not_come_about_is_tried_once_more(way_to: WayTo) -> None:
    """A server that begins to listen just after the first try gets the call, once."""
    raw = RawServer(answer_each)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with way_to("http://{}:{}/mcp".format(*listener.getsockname())) as way:
            calling = asyncio.create_task(post(way))
            # The first try is refused at once: the port is bound, and nothing listens there yet.
            await asyncio.sleep(0.03)
            server = await asyncio.start_server(raw, sock=listener)
            assert await calling == b"{}"
            server.close()
    assert len(raw.requests) == 1


@pytest.mark.parametrize("http_method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_what_was_sent_is_never_sent_again(way_to: WayTo, http_method: str, is_first: bool) -> None:
    """A request that broke off after it was sent has reached the server once, in a new connection and in a used one."""
    has_answered = is_first

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal has_answered
        if not has_answered:
            await answer_one(raw, reader, writer)
            has_answered = True
        await break_after_the_request(raw, reader, writer)

    async with raw_server(handler) as (url, raw), way_to(url) as way:
        if not is_first:
            await post(way)
        with pytest.raises(UpstreamUnavailable):
            await way.send(http_method, HEADERS, BODY if http_method == "POST" else b"")
        assert (raw.connections, len(raw.requests)) == (1, 1 if is_first else 2)


async def test_a_connection_that_the_server_has_closed_is_not_used(way_to: WayTo) -> None:
    """A call after the server closed its idle connection goes into a new one, and arrives once."""
    async with raw_server(answer_one) as (url, raw), way_to(url) as way:
        for _ in range(5):
            assert await post(way) == b"{}"
            # The end of the connection has to reach us, as it would while nobody calls.
            await asyncio.sleep(0.02)
        assert (raw.connections, len(raw.requests)) == (5, 5)


async def test_a_head_that_does_not_come_in_time_is_a_failure(way_to: WayTo) -> None:
    """The call is told that it took too long, and the server that its caller is gone."""
    async with raw_server(never_answer) as (url, raw), way_to(url, patience=Patience(answer=0.2)) as way:
        with pytest.raises(AnswerTooLong):
            await post(way)
        assert len(raw.requests) == 1
        assert way.state.condition is Condition.FAILED


async def test_an_answer_that_breaks_off_says_so(way_to: WayTo) -> None:
    """Half an answer is not taken for a whole one."""

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw.take(reader)
        writer.write(OK[:-1])

    async with raw_server(handler) as (url, _), way_to(url) as way:
        reply = await way.send("POST", HEADERS, BODY)
        with pytest.raises(UpstreamUnavailable):
            await body_of(reply)


async def test_the_circuit_opens_tries_and_closes(way_to: WayTo) -> None:
    """After failures in a row no call goes out; later one tries, and when that gets through all do."""
    clock = Clock()
    is_well = False

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (answer_each if is_well else break_after_the_request)(raw, reader, writer)

    patience = Patience(circuit_failures=2, circuit_seconds=5)
    async with raw_server(handler) as (url, raw), way_to(url, patience=patience, monotonic=clock) as way:
        for _ in range(2):
            with pytest.raises(UpstreamUnavailable):
                await post(way)
        with pytest.raises(UpstreamUnavailable) as refusal:
            await post(way)
        assert (len(raw.requests), refusal.value.retry_after) == (2, 5)
        clock.now = 5
        with pytest.raises(UpstreamUnavailable):
            await post(way)
        with pytest.raises(UpstreamUnavailable, match="circuit"):
            await post(way)
        assert len(raw.requests) == 3
        clock.now, is_well = 10, True
        assert [await post(way) for _ in range(3)] == [b"{}"] * 3


def answering(status: int, media_type: str, body: bytes) -> Handler:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    async def handler(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await raw.take(reader)
            writer.write(head + body)

    return handler


@pytest.mark.parametrize(
    ("status", "media_type", "is_failure"),
    [
        (502, "text/html", True),
        (503, "text/plain", True),
        (504, "text/html; charset=utf-8", True),
        (503, "application/json", False),
        (500, "text/html", False),
        (404, "text/html", False),
    ],
)
async def test_a_proxy_that_says_the_server_is_not_there_is_a_failure(
    way_to: WayTo, status: int, media_type: str, is_failure: bool
) -> None:
    """A gateway error of a proxy counts for the circuit; what the server itself says, a 503 in JSON too, does not."""
    patience = Patience(circuit_failures=1)
    handler = answering(status, media_type, b'{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"x"}}')
    async with raw_server(handler) as (url, _), way_to(url, patience=patience) as way:
        assert (await way.send("POST", HEADERS, BODY)).status == status
        if is_failure:
            with pytest.raises(UpstreamUnavailable, match="circuit"):
                await post(way)
        else:
            assert (await way.send("POST", HEADERS, BODY)).status == status


async def test_going_away_says_nothing_of_the_server(way_to: WayTo) -> None:
    """A call whose caller left is no failure: the circuit stays closed."""
    async with raw_server(never_answer) as (url, raw), way_to(url, patience=Patience(circuit_failures=1)) as way:
        for _ in range(2):
            calling = asyncio.create_task(post(way))
            async with asyncio.timeout(5):
                while not raw.requests:
                    await asyncio.sleep(0.01)
            raw.requests.clear()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling


async def test_a_certificate_of_the_named_authority_is_believed_and_no_other(way_to: WayTo, tmp_path: Path) -> None:
    """With the authority's certificate the call goes through; without it, or with another's, it is never sent."""
    ca, server = make_ca(tmp_path)
    other, _ = make_ca(tmp_path)
    async with raw_server(answer_each, tls=server) as (url, raw):
        async with way_to(url, tls=tls_trusting(ca)) as way:
            assert await post(way) == b"{}"
        for tls in (None, tls_trusting(other)):
            async with way_to(url, tls=tls) as way:
                with pytest.raises(UpstreamUnavailable):
                    await post(way)
        assert len(raw.requests) == 1
