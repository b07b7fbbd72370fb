"""The shim adds one header and copies everything else, byte for byte, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.shim import Shim, Tokens, with_token

TOKEN = "header.payload.signature"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class FixedTokens(Tokens):
    """A token source that never asks."""

    async def current(self) -> str:
        return TOKEN


@asynccontextmanager
async def shim_before(answer: Answer) -> AsyncIterator[int]:
    """A gateway that answers so, and a shim before it; the shim's port."""
    gateway = await asyncio.start_server(answer, "127.0.0.1", 0)
    target = gateway.sockets[0].getsockname()[1]
    shim = Shim("127.0.0.1", target, FixedTokens("", "", "", "", Path()))
    front = await asyncio.start_server(shim.serve, "127.0.0.1", 0)
    async with gateway, front:
        yield front.sockets[0].getsockname()[1]


def test_only_one_line_is_added() -> None:
    """The head keeps every byte, odd spacing and letter case included."""
    head = b"POST /mcp HTTP/1.1\r\nHOST: evil.example\r\nMcp-Name:   x  \r\nOrigin: http://evil.example\r\n\r\n"
    request_line, rest = head.split(b"\r\n", 1)
    assert with_token(head, TOKEN) == request_line + b"\r\nAuthorization: Bearer header.payload.signature\r\n" + rest


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 11\r\n", b"hello world"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n"),
        (b"", b""),
    ],
)
async def test_every_request_of_a_connection_gets_the_token(framing: bytes, body: bytes) -> None:
    """Two requests on one connection both arrive with the token, with their bodies unchanged."""
    head = b"POST /mcp HTTP/1.1\r\nHost: localhost:1\r\n" + framing + b"\r\n"
    arrived: list[bytes] = []
    whole = len(with_token(head, TOKEN) + body)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            arrived.append(await reader.readexactly(whole))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with shim_before(answer) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(head + body)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
        writer.close()
    assert arrived == [with_token(head, TOKEN) + body] * 2


async def test_an_event_passes_before_the_stream_ends() -> None:
    """A server-sent event reaches the client while the stream is still open."""
    released = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await released.wait()
        writer.write(b"data: 2\n\n")
        writer.close()

    async with shim_before(answer) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /mcp HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
        assert (await reader.readuntil(b"data: 1\n\n")).endswith(b"data: 1\n\n")
        released.set()
        assert await reader.read() == b"data: 2\n\n"
        writer.close()


async def test_a_client_that_leaves_is_gone_at_the_gateway_too() -> None:
    """When the client closes its connection, the one to the gateway is closed."""
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b""
        gone.set()
        writer.close()

    async with shim_before(answer) as port, asyncio.timeout(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /mcp HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
        await writer.drain()
        writer.close()
        await gone.wait()
