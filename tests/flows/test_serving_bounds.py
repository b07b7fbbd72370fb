"""What a caller does to a connection ends with it: no request of its own goes on, and no connection stays for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from perhop.gateway.app import send_whole
from perhop.rules.revocation import RevocationKind
from perhop.serving import http_cycle, http_protocol
from perhop.serving.listeners import listening
from tests.support.gateways import World, gateway
from tests.support.processes import LOOPBACK, free_port
from tests.support.upstreams import event, legacy, stream_answer

NOTE = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
ANOTHER = b"GET /mcp/calendar HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
LONG = b"x" * (32 << 20)
"""More than any system keeps for a connection."""
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


@asynccontextmanager
async def _connected(world: World) -> AsyncIterator[Connection]:
    port = free_port()
    async with listening({f"{LOOPBACK}:{port}": world.app}, drain=1):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


def _streams(world: World, *, size: int = 1) -> None:
    """Every answer is a stream without an end, whose events have about this size."""
    note = event({**NOTE, "params": {"message": "x" * size}})

    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield note
            await asyncio.sleep(0.001)

    world.upstream.script = lambda _: stream_answer(forever())


async def _call(world: World, connection: Connection, *, jti: str = "t1") -> None:
    """Ask for such a stream, and wait for its first event."""
    headers, body = legacy("tools/call", {"name": "echo", "arguments": {"text": "a"}})
    lines = [f"{name}: {value}\r\n" for name, value in (headers | world.bearer(jti=jti)).items()]
    head = f"POST /mcp/calendar HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n{''.join(lines)}\r\n"
    connection[1].write(head.encode() + body)
    async with asyncio.timeout(5):
        await connection[0].readuntil(b"data:")


async def _is_let_go(world: World) -> bool:
    """True if the upstream hears that nobody listens, and the journal has the call's end."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(world.upstream.gone.wait(), 5)
    return world.upstream.gone.is_set() and (await world.records(2))[-1]["event"] == "call.ended"


@pytest.mark.parametrize("behind", [b"", ANOTHER], ids=["alone", "with another request behind it"])
async def test_no_call_outlives_its_caller(world: World, behind: bytes) -> None:
    """The caller goes away in the middle of an answer: the upstream hears of it, whatever else was asked."""
    _streams(world)
    async with _connected(world) as connection:
        await _call(world, connection)
        connection[1].write(behind)
        await connection[1].drain()
        await asyncio.sleep(0.1)
        connection[1].transport.abort()
        assert await _is_let_go(world)


async def test_a_revocation_reaches_who_reads_nothing(world: World) -> None:
    """A caller who has stopped reading is not told: its connection and its call end all the same."""
    _streams(world, size=100_000)
    async with _connected(world) as connection:
        await _call(world, connection, jti="stolen")
        connection[1].transport.pause_reading()  # type: ignore[attr-defined]  # it is a whole transport
        await asyncio.sleep(0.5)
        assert not world.upstream.gone.is_set()
        world.revoke(RevocationKind.TOKEN, "stolen")
        assert await _is_let_go(world)


async def test_nobody_is_waited_for_without_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes nothing of an answer for so long is cut off."""
    monkeypatch.setattr(http_cycle, "SEND_SECONDS", 0.3)
    _streams(world, size=100_000)
    async with _connected(world) as connection:
        await _call(world, connection)
        connection[1].transport.pause_reading()  # type: ignore[attr-defined]  # it is a whole transport
        assert await _is_let_go(world)


async def test_a_stop_does_not_wait_for_who_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is written and its connection closed: what the peer has not taken is dropped, and the stop goes on."""
    monkeypatch.setattr(http_protocol, "SEND_SECONDS", 0.3)
    port, answered = free_port(), asyncio.Event()

    async def long(_: Any, __: Any, send: Any) -> None:
        await send_whole(send, 200, (), LONG)
        answered.set()

    async with asyncio.timeout(20):
        async with listening({f"{LOOPBACK}:{port}": long}, drain=60):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a whole transport
            writer.write(ANOTHER)
            await answered.wait()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            assert len(await reader.read()) < len(LONG)
        writer.close()


async def test_a_slow_body_buys_no_time_once_it_is_answered(world: World) -> None:
    """A refused request whose body goes on octet by octet: the connection ends as if nothing more had come."""
    async with _connected(world) as (reader, writer):
        writer.write(b"POST /mcp/calendar HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n{")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 401")
        await asyncio.sleep(0.2)
        writer.write(b"x")
        async with asyncio.timeout(http_protocol.HEADER_SECONDS + 5):
            assert b"\r\n\r\n" in await reader.read()  # the rest of the 401, and nothing waits any more
        assert reader.at_eof()
