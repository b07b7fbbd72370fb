"""What a call to an upstream costs with either pool: `python -m bench.pools [ROUNDS]`. Run by hand.

A quick server answers on another core; this process takes all its processor time for the calls. Both pools, and the
bare transport beneath them, take turns within each round, so that whatever else the machine does falls on all alike.
Prints medians of the processor's time for a call, and what a pool costs beyond the transport, as a ratio.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import cast

import uvloop

from perhop.core.call import Headers
from perhop.core.resource import UpstreamPool
from perhop.gateway.upstream.interface import OpenUpstream
from tests.support.pools import open_way

ROUNDS = 9
CALLS = 4_000
AT_ONCE = (1, 32)
HEADERS: Headers = (
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", "2026-07-28"),
    ("mcp-method", "tools/call"),
    ("mcp-name", "get_event"),
    ("accept-encoding", "identity"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("authorization", "Bearer " + 600 * "t"),
)
BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_event","arguments":{"x":"%s"}}}' % (
    900 * b"y"
)
Call = Callable[[], Awaitable[None]]


class _Bare(asyncio.Protocol):
    """Octets out, octets in: the least that any pool does."""

    def __init__(self) -> None:
        self._came: asyncio.Future[None] | None = None
        self._request = b"POST /mcp HTTP/1.1\r\nhost: x\r\n"
        self._request += b"".join(f"{name}: {value}\r\n".encode() for name, value in HEADERS)
        self._request += b"content-length: %d\r\n\r\n" % len(BODY) + BODY

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _data: bytes) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

    async def call(self) -> None:
        self._came = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        await self._came


def _through(way: OpenUpstream) -> Call:
    async def call() -> None:
        reply = await way.send("POST", HEADERS, BODY)
        octets = bytearray()
        async for chunk in reply.chunks:
            octets += chunk
        await reply.close()
        assert len(octets) > 900

    return call


async def _bare(port: int, at_once: int) -> Call:
    loop = asyncio.get_running_loop()
    free = [(await loop.create_connection(_Bare, "127.0.0.1", port))[1] for _ in range(at_once)]

    async def call() -> None:
        connection = free.pop()
        await connection.call()
        free.append(connection)

    return call


async def _cost(call: Call, at_once: int) -> float:
    """Processor seconds for a call."""

    async def some() -> None:
        for _ in range(CALLS // at_once):
            await call()

    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(at_once)))
    return (time.process_time() - began) / (CALLS // at_once * at_once)


async def _measure(port: int, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        ways = {
            pool.value: await stack.enter_async_context(open_way(pool, f"http://127.0.0.1:{port}/mcp"))
            for pool in UpstreamPool
        }
        for at_once in AT_ONCE:
            calls = {"bare transport": await _bare(port, at_once)} | {name: _through(way) for name, way in ways.items()}
            seen: dict[str, list[float]] = {name: [] for name in calls}
            for turn in range(rounds + 1):
                for name, call in calls.items():
                    cost = await _cost(call, at_once)
                    if turn:
                        seen[name].append(cost)
            floor = seen["bare transport"]
            beyond = {name: [a - b for a, b in zip(costs, floor, strict=True)] for name, costs in seen.items()}
            sys.stdout.write(f"{at_once} at once\n")
            for name, costs in seen.items():
                sys.stdout.write(
                    f"  {name:<15}{1e6 * statistics.median(costs):7.1f} us a call"
                    f"{1e6 * statistics.median(beyond[name]):7.1f} us beyond the transport\n"
                )
            ratios = {
                "as a whole": [a / b for a, b in zip(seen["aiohttp"], seen["own"], strict=True)],
                "beyond the transport": [a / b for a, b in zip(beyond["aiohttp"], beyond["own"], strict=True)],
            }
            for name, each in ratios.items():
                sys.stdout.write(f"  aiohttp / own, {name}: {statistics.median(each):.1f}\n")


def main(rounds: int) -> None:
    """Pin both ends, measure, and end the server."""
    cores = sorted(os.sched_getaffinity(0))
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.quick_server", str(cores[-1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        os.sched_setaffinity(0, {cores[0]})
        uvloop.run(_measure(int(server.stdout.readline()), rounds))
    finally:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
