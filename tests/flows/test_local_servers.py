"""Local servers of others' making, and what becomes of their processes when `perhop serve` goes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from perhop.core.call import Headers
from perhop.core.resource import Resource, Upstream
from perhop.core.secret import Secret
from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.interface import OpenUpstream
from perhop.gateway.upstream.orphan_watch import OrphanWatch
from perhop.gateway.upstream.stdio import StdioUpstream
from perhop.rules.mcp_methods import Era
from perhop.rules.resource_uri import parse_resource_uri
from perhop.wiring.upstreams import Upstreams
from tests.support.gateways import World
from tests.support.installations import Installation, installed, run_by
from tests.support.mcp_wire import call_legacy, call_modern, initialize
from tests.support.pools import POOL
from tests.support.processes import await_end_of, is_running
from tests.support.stdio_upstreams import (
    EVERY_TOOL,
    SERVER,
    calling,
    gateway_before,
    pids,
    sdk_stdio_server,
    small_server,
)
from tests.support.upstreams import legacy

Mode = Literal["auto", "legacy"]
MODES: dict[Mode, tuple[str, int]] = {"auto": ("2026-07-28", 1), "legacy": ("2025-11-25", 3)}
"""What the client asks for, what it comes to, and how many processes two clients have then."""


def take(upstreams: Upstreams, resources: list[Resource]) -> Mapping[str, OpenUpstream]:
    """Go on with the ways of these resources, and no others."""
    prepared = upstreams.prepare(resources, POOL)
    prepared.take()
    return prepared.ways


@asynccontextmanager
async def client(world: World, mode: Mode, **claims: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=world.bearer(scope="all", **claims), timeout=60) as http,
        Client(streamable_http_client(world.url, http_client=http), mode=mode) as connected,
    ):
        yield connected


async def test_the_official_client_uses_the_official_server_in_both_eras(tmp_path: Path) -> None:
    """The SDK's server on its standard streams answers the SDK's client in the era that it asks for, with progress."""
    async with gateway_before(tmp_path, sdk_stdio_server()) as world:
        assert world.way.eras == set(Era)
        for mode, (revision, processes) in MODES.items():
            async with client(world, mode) as one, client(world, mode, sub="user:other") as other:
                assert one.protocol_version == revision
                assert [tool.name for tool in (await one.list_tools()).tools] == ["add", "echo", "fail", "count"]
                seen: list[float] = []
                answers = await asyncio.gather(
                    one.call_tool("count", {"to": 3}, progress_callback=noting(seen)),
                    other.call_tool("add", {"a": 2, "b": 3}),
                )
                assert [answer.structured_content for answer in answers] == [{"result": "counted to 3"}, {"result": 5}]
                assert seen == [1.0, 2.0, 3.0]
                assert (await one.read_resource("note://today")).contents
                assert len(pids(world)) == processes


async def test_a_client_of_both_eras_makes_a_handshake_where_it_has_to(tmp_path: Path) -> None:
    """The SDK's client finds out by itself that a server takes handshakes only."""
    async with gateway_before(tmp_path, small_server("legacy")) as world, client(world, "auto") as connected:
        assert connected.protocol_version == "2025-11-25"
        assert (await connected.call_tool("echo", {"text": "x"})).content


def noting(seen: list[float]) -> Callable[[float, float | None, str | None], Awaitable[None]]:
    async def progress(done: float, _total: float | None, _message: str | None) -> None:
        seen.append(done)

    return progress


def a_resource(name: str, upstream: Upstream) -> Resource:
    uri = parse_resource_uri(f"http://127.0.0.1/mcp/{name}")
    return Resource(name=name, uri=uri, owner="o", scopes=EVERY_TOOL, upstream=upstream)


async def test_ways_are_kept_while_their_upstream_is_the_same() -> None:
    """Asked again, an equal upstream keeps its way and its process; another gets a new one, and the old one ends."""
    upstreams = Upstreams(inherited={"PATH": os.environ["PATH"]})
    try:
        ways = take(upstreams, [a_resource("kept", small_server("modern")), a_resource("new", small_server("modern"))])
        kept, changed = ways["kept"], ways["new"]
        assert isinstance(kept, StdioUpstream)
        assert isinstance(changed, StdioUpstream)
        async with asyncio.timeout(20):
            while not (kept.eras and changed.eras):
                await asyncio.sleep(0.02)
        running, ending = kept.pids, changed.pids
        again = take(upstreams, [a_resource("kept", small_server("modern")), a_resource("new", small_server("legacy"))])
        assert again["kept"] is kept
        assert again["new"] is not changed
        await asyncio.to_thread(await_end_of, ending)
        assert kept.pids == running
        assert take(upstreams, []) == {}
    finally:
        await upstreams.aclose()
    assert not any(is_running(pid) for pid in running)


async def test_a_way_that_is_dropped_lets_its_calls_end() -> None:
    """It takes nothing new, what is under way on it ends as it would have, and then its process does."""
    upstreams = Upstreams(inherited={"PATH": os.environ["PATH"]})
    try:
        way = take(upstreams, [a_resource("dropped", small_server("modern"))])["dropped"]
        assert isinstance(way, StdioUpstream)
        async with asyncio.timeout(20):
            while not way.eras:
                await asyncio.sleep(0.02)
            running = way.pids
            waiting = await way.send("POST", *sent("wait", token=1, text="x"))
            ending = asyncio.create_task(way.send("POST", *sent("wait_for", cancelled=1)))
            await asyncio.sleep(0)
            take(upstreams, [])
            await asyncio.sleep(0)
            with pytest.raises(UpstreamUnavailable):
                await way.send("POST", *sent("echo", text="x"))
            await waiting.close()
            ended = await ending
            assert b'"text":"1"' in b"".join([chunk async for chunk in ended.chunks])
            assert all(is_running(pid) for pid in running)
            await ended.close()
        await asyncio.to_thread(await_end_of, running)
    finally:
        await upstreams.aclose()


async def test_the_session_unused_longest_makes_room_once_it_was_left_alone() -> None:
    """While all are taken and were just used a new one is refused; later the one unused longest is ended for it."""
    now = [1000.0]
    watch = OrphanWatch()
    command = small_server("legacy", max_sessions=2).command
    assert command is not None
    way = StdioUpstream("small", command, answer_seconds=20, inherited={}, watch=watch, monotonic=lambda: now[0])

    async def use(session: str) -> int:
        headers, body = calling("echo", Era.LEGACY, text="x")
        reply = await way.send("POST", (*headers.items(), ("mcp-session-id", session)), body)
        await reply.close()
        return reply.status

    async def open_one() -> str:
        headers, body = legacy("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
        return str((await way.send("POST", tuple(headers.items()), body)).header("mcp-session-id"))

    try:
        async with asyncio.timeout(20):
            while not way.eras:
                await asyncio.sleep(0.02)
            first = await open_one()
            now[0] += 10
            second = await open_one()
            now[0] += 10
            assert await use(first) == 200
            with pytest.raises(UpstreamUnavailable) as refusal:
                await open_one()
            assert refusal.value.retry_after == 20
            now[0] += 20
            ended = way.pids[2]
            third = await open_one()
            assert not is_running(ended)
            assert [await use(session) for session in (first, second, third)] == [200, 404, 200]
            assert len(way.pids) == 3
    finally:
        await way.close()
        await watch.close()


def sent(tool: str, **arguments: Any) -> tuple[Headers, bytes]:
    headers, body = calling(tool, **arguments)
    return tuple(headers.items()), body


def test_a_secret_that_changed_makes_another_upstream() -> None:
    """Upstreams of equal commands are equal; with another value of a variable they are not."""
    one, same, other = (small_server("modern", environment={"KEY": Secret(value)}) for value in ("a", "a", "b"))
    assert one == same
    assert one != other


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Installation]:
    with installed(tmp_path, run_by(sys.executable, SERVER, "both", "--deaf")) as installation:
        yield installation


async def started_by(installation: Installation) -> list[int]:
    """Every process that serves: the shared one, a session's, and what each of them has started."""
    token = installation.token()
    found = []
    async with httpx2.AsyncClient(timeout=20) as http:
        async with asyncio.timeout(20):
            while (await call_modern(http, installation.url, token, "pid", raw=True)).status_code != 200:
                await asyncio.sleep(0.05)
        session = await initialize(http, installation.url, token)
        for tool in ("pid", "start_child"):
            for answer in (
                await call_modern(http, installation.url, token, tool, raw=True),
                await call_legacy(http, installation.url, token, tool, session=session, raw=True),
            ):
                found.append(int(answer.json()["result"]["content"][0]["text"]))
    assert len(set(found)) == 4
    assert all(is_running(pid) for pid in found)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_no_process_is_left_when_serve_goes(serving: Installation, number: signal.Signals) -> None:
    """Whether `perhop serve` is stopped or killed, every process that it or its servers have started ends."""
    found = await started_by(serving)
    os.kill(serving.process.pid, number)
    await asyncio.to_thread(await_end_of, [serving.process.pid, *found], within=20.0)
