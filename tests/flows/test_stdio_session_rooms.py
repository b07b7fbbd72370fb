"""The sessions of a local server are few: who gets one, who has to make room, and what becomes of one that is begun."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from perhop.core.resource import LocalCommand
from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.child import Child
from perhop.gateway.upstream.interface import UpstreamReply
from perhop.gateway.upstream.orphan_watch import OrphanWatch
from perhop.gateway.upstream.server_log import ServerLog
from perhop.gateway.upstream.stdio import StdioUpstream
from perhop.rules.mcp_methods import Era
from tests.support.gateways import World
from tests.support.processes import await_end_of, is_running
from tests.support.stdio_upstreams import PATIENCE, ask, calling, gateway_before, open_session, small_server
from tests.support.upstreams import legacy

HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
STARTER = "sleep 60 & echo $! > new && mv new started && wait"
"""As `npx` does: what was asked for is run by a process of its own."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_before(tmp_path, small_server("legacy", max_sessions=4)) as made:
        yield made


@asynccontextmanager
async def a_way(*flags: str, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[StdioUpstream]:
    """A way of its own to the small server in the handshake era, with two sessions at most."""
    command = small_server("legacy", *flags, max_sessions=2).command
    assert command is not None
    watch = OrphanWatch()
    way = StdioUpstream("small", command, answer_seconds=PATIENCE, inherited={}, watch=watch, monotonic=clock)
    try:
        async with asyncio.timeout(PATIENCE):
            while not way.eras:
                await asyncio.sleep(0.02)
            yield way
    finally:
        await way.close()
        await watch.close()


async def shake_hands(way: StdioUpstream) -> UpstreamReply:
    headers, body = legacy("initialize", HANDSHAKE)
    return await way.send("POST", tuple(headers.items()), body)


async def use(world: World, session: str, who: str) -> int:
    return (await ask(world, calling("echo", Era.LEGACY, text="x"), session=session, sub=who)).status_code


async def test_half_of_the_sessions_is_for_others(world: World) -> None:
    """One who holds all loses what is above its share to others, the longest unused first, and gets no more."""
    eves = [await open_session(world, sub="user:eve") for _ in range(4)]
    bobs = [await open_session(world, sub="user:bob") for _ in range(2)]
    assert [await use(world, each, "user:eve") for each in eves] == [404, 404, 200, 200]
    for who in ("user:eve", "user:bob", "user:carol"):
        assert (await ask(world, legacy("initialize", HANDSHAKE), sub=who)).status_code == 503
    assert [await use(world, each, "user:bob") for each in bobs] == [200, 200]


async def test_what_is_above_a_share_makes_room_though_its_client_listens(world: World) -> None:
    """Neither a stream nor a call under way holds what is only lent."""
    eves = [await open_session(world, sub="user:eve") for _ in range(4)]
    headers = {**world.bearer(scope="all", sub="user:eve"), "accept": "text/event-stream"}
    async with asyncio.TaskGroup() as group, asyncio.timeout(PATIENCE):
        for each in eves:
            stream = world.http.stream("GET", world.url, headers={**headers, "mcp-session-id": each})
            group.create_task(hold(stream))
            group.create_task(ask(world, calling("wait", Era.LEGACY), session=each, sub="user:eve"))
        bob = await open_session(world, sub="user:bob")
        assert await use(world, bob, "user:bob") == 200
        for each in eves:
            await world.http.delete(world.url, headers={**headers, "mcp-session-id": each})


async def hold(stream: AbstractAsyncContextManager[httpx2.Response]) -> None:
    async with stream as response:
        async for _ in response.aiter_bytes():
            pass


async def test_who_only_listens_makes_room_once_idle() -> None:
    """A stream keeps a session from others until `session_idle` after its client was there, and then no longer."""
    now = [1000.0]
    async with a_way(clock=lambda: now[0]) as way:
        listened = (await shake_hands(way)).header("mcp-session-id")
        assert listened is not None
        version = ("mcp-protocol-version", "2025-11-25")
        stream = await way.send("GET", (version, ("mcp-session-id", listened)), b"")
        now[0] += 590
        await shake_hands(way)
        with pytest.raises(UpstreamUnavailable) as refusal:
            await shake_hands(way)
        assert refusal.value.retry_after == 10
        now[0] += 10
        assert (await shake_hands(way)).status == 200
        assert [chunk async for chunk in stream.chunks] == []
        await stream.close()
        assert (await way.send("GET", (version, ("mcp-session-id", listened)), b"")).status == 404


async def begun(way: StdioUpstream) -> asyncio.Task[UpstreamReply]:
    """A handshake under way: its process runs, and has not answered."""
    opening = asyncio.create_task(shake_hands(way))
    while len(way.pids) < 2:
        await asyncio.sleep(0.02)
    return opening


async def test_a_handshake_under_way_is_waited_for_when_the_way_is_closed(tmp_path: Path) -> None:
    """It is answered within the time that there is, and then its process ends as every other does."""
    release = tmp_path / "release"
    async with a_way(f"--stalls={release}") as way:
        opening = await begun(way)
        running = way.pids
        closing = asyncio.create_task(way.close(within=PATIENCE))
        await asyncio.sleep(0)
        release.touch()
        assert (await opening).status == 200
        await closing
        assert not any(is_running(pid) for pid in running)


async def test_a_handshake_under_way_ends_with_the_way(tmp_path: Path) -> None:
    """When the time is up the call is told that there is no server, and no process is left."""
    async with a_way(f"--stalls={tmp_path / 'never'}") as way:
        opening = await begun(way)
        running = way.pids
        await way.close()
        with pytest.raises(UpstreamUnavailable):
            await opening
        assert way.pids == []
        assert not any(is_running(pid) for pid in running)


async def test_a_start_under_way_ends_with_the_way() -> None:
    """A process that comes up while the way is closed opens no session, and is ended before the way is closed."""
    async with a_way() as way:
        opening = asyncio.create_task(shake_hands(way))
        await asyncio.sleep(0)
        await way.close()
        assert way.pids == []
        with pytest.raises(UpstreamUnavailable):
            await opening
        assert way.pids == []


async def test_a_start_that_is_given_up_leaves_nobody_behind(tmp_path: Path) -> None:
    """Whom the process has started meanwhile is ended with it."""
    watch = OrphanWatch()
    await watch.start()
    command = LocalCommand(words=("/bin/sh", "-c", STARTER), folder=str(tmp_path))
    log = ServerLog("starter", clock=time.monotonic)
    starting = asyncio.create_task(Child.start(command, inherited=dict(os.environ), watch=watch, log=log))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # The loop is busy: it hears of the process when the process has long started another.
    ends_at = time.monotonic() + PATIENCE
    while not (tmp_path / "started").exists():
        assert time.monotonic() < ends_at
        time.sleep(0.02)
    starting.cancel()
    await asyncio.to_thread(await_end_of, [int((tmp_path / "started").read_text())])
    with pytest.raises(asyncio.CancelledError):
        await starting
    await watch.close()
