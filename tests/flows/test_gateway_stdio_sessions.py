"""A local server of the handshake era behind the gateway: a process for each session, and each session for itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.rules.mcp_methods import Era
from tests.support.gateways import World
from tests.support.processes import await_end_of, is_running
from tests.support.stdio_upstreams import (
    ask,
    calling,
    gateway_before,
    messages_of,
    open_session,
    pids,
    say_in,
    small_server,
    text_of,
)
from tests.support.upstreams import legacy, modern


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_before(tmp_path, small_server("legacy", answer_timeout=2, max_sessions=2)) as made:
        yield made


class Listening:
    """A client's stream for what belongs to no call."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("data: "):
                    message: dict[str, Any] = json.loads(line[6:])
                    return message
        raise AssertionError("the stream ended")

    async def ends(self) -> None:
        async with asyncio.timeout(10):
            async for line in self._lines:
                assert not line.startswith("data: ")


def listening(world: World, session: str) -> Any:
    headers = {**world.bearer(scope="all"), "accept": "text/event-stream", "mcp-session-id": session}
    return world.http.stream("GET", world.url, headers=headers)


async def test_two_sessions_know_nothing_of_each_other(world: World) -> None:
    """Each has a process of its own, and what one has told its server the other does not find there."""
    assert world.way.eras == {Era.LEGACY}
    one, two = await open_session(world), await open_session(world)
    await say_in(world, one, "remember", text="secret")
    assert (await say_in(world, one, "recall"), await say_in(world, two, "recall")) == ("secret", "")
    own = {await say_in(world, session, "pid") for session in (one, two)}
    assert len(own | {str(pids(world)[0])}) == 3


async def test_a_session_of_another_principal_is_unknown(world: World) -> None:
    """Whoever knows the id of a session is still not its owner."""
    session = await open_session(world)
    answer = await ask(world, calling("recall", Era.LEGACY), session=session, sub="user:eve")
    assert (answer.status_code, answer.content) == (404, b"")


async def test_what_needs_a_session_is_refused_without_one(world: World) -> None:
    """A request, a stream or an end without a session is 400, and names no error of the stateless era."""
    assert (await ask(world, legacy("tools/list"))).status_code == 400
    for method in ("GET", "DELETE"):
        assert (await world.http.request(method, world.url, headers=world.bearer(scope="all"))).status_code == 400


async def test_a_stateless_request_is_told_to_make_a_handshake(world: World) -> None:
    """A server of the handshake era answers 400 without an error that a modern client would take for a modern one."""
    answer = await ask(world, calling("echo", text="x"))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], "2025-11-25" in error["message"]) == (400, -32000, True)


async def test_a_client_ends_its_session_and_its_process(world: World) -> None:
    """DELETE ends the process, the id means nothing after it, and other sessions go on."""
    one, two = await open_session(world), await open_session(world)
    pid = int(await say_in(world, one, "pid"))
    headers = {**world.bearer(scope="all"), "mcp-session-id": one}
    assert (await world.http.delete(world.url, headers=headers)).status_code == 200
    await asyncio.to_thread(await_end_of, [pid])
    assert (await ask(world, calling("echo", Era.LEGACY), session=one)).status_code == 404
    assert await say_in(world, two, "echo", text="still here") == "still here"


async def test_a_server_asks_its_client_and_gets_the_answer(world: World) -> None:
    """A request of the server comes on the stream of the call that it belongs to, and the answer finds its way."""
    session = await open_session(world)
    request = calling("ask_back", Era.LEGACY, text="what?")
    headers = {**request[0], **world.bearer(scope="all"), "mcp-session-id": session}
    async with world.http.stream("POST", world.url, headers=headers, content=request[1]) as response:
        call = Listening(response)
        asked = await call.next()
        assert asked["method"] == "sampling/createMessage"
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "because"}).encode()
        answered = await ask(world, (legacy("tools/list")[0], body), session=session)
        assert answered.status_code == 202
        assert (await call.next())["result"]["content"][0]["text"] == "because"


async def test_what_belongs_to_no_call_comes_on_the_stream_of_its_session(world: World) -> None:
    """It waits for whoever listens, reaches the session that it is for only, and a new stream takes over."""
    one, two = await open_session(world), await open_session(world)
    await say_in(world, one, "say_later", text="for one")
    async with listening(world, one) as first, listening(world, two) as other:
        heard, heard_by_other = Listening(first), Listening(other)
        assert (await heard.next())["params"]["data"] == "for one"
        await say_in(world, one, "say_later", text="again for one")
        assert (await heard.next())["params"]["data"] == "again for one"
        async with listening(world, one) as second:
            await heard.ends()
            await say_in(world, one, "say_later", text="for the new stream")
            assert (await Listening(second).next())["params"]["data"] == "for the new stream"
        await say_in(world, two, "say_later", text="for two")
        assert (await heard_by_other.next())["params"]["data"] == "for two"


async def test_going_away_does_not_cancel_and_saying_so_does(world: World) -> None:
    """In the handshake era a connection that is gone cancels nothing; the client's notification does."""
    session = await open_session(world)
    request = calling("wait", Era.LEGACY, rpc_id=7, token=1, text="x")
    headers = {**request[0], **world.bearer(scope="all"), "mcp-session-id": session}
    async with world.http.stream("POST", world.url, headers=headers, content=request[1]) as response:
        await Listening(response).next()
    assert await say_in(world, session, "cancelled") == "0"
    request = calling("wait", Era.LEGACY, rpc_id=9, token=1, text="x")
    async with world.http.stream("POST", world.url, headers=headers, content=request[1]) as response:
        call = Listening(response)
        await call.next()
        body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
        told = await ask(world, (legacy("tools/list")[0], json.dumps(body).encode()), session=session)
        assert told.status_code == 202
        assert await say_in(world, session, "wait_for", rpc_id=8, cancelled=1) == "1"


async def test_a_process_that_crashes_takes_its_session_along(world: World) -> None:
    """The call under way is unavailable, the session is then unknown, and another can be opened."""
    session, other = await open_session(world), await open_session(world)
    assert (await ask(world, calling("crash", Era.LEGACY), session=session)).status_code == 503
    assert (await ask(world, calling("echo", Era.LEGACY), session=session)).status_code == 404
    assert await say_in(world, other, "echo", text="x") == "x"
    assert await say_in(world, await open_session(world), "echo", text="x") == "x"


async def test_a_session_outlives_the_process_that_only_stands(world: World) -> None:
    """When the process ends that shows that the server works, the sessions go on."""
    session = await open_session(world)
    standing = pids(world)[0]
    os.kill(standing, signal.SIGKILL)
    await asyncio.to_thread(await_end_of, [standing])
    assert await say_in(world, session, "echo", text="still here") == "still here"


@pytest.mark.parametrize("flag", ["--dies", "--silent"])
async def test_a_server_that_cannot_be_asked_is_known_by_its_handshake(tmp_path: Path, flag: str) -> None:
    """A server of the handshake era that ends at a discovery, or says nothing to it, gets its handshake."""
    async with gateway_before(tmp_path, small_server("legacy", flag)) as world:
        assert world.way.eras == {Era.LEGACY}
        assert await say_in(world, await open_session(world), "echo", text="x") == "x"


async def test_a_session_whose_process_hangs_is_ended(world: World) -> None:
    """After a call that ran out of time without a sign of life the process is no more, and the session unknown."""
    session = await open_session(world)
    pid = int(await say_in(world, session, "pid"))
    os.kill(pid, signal.SIGSTOP)
    assert (await ask(world, calling("echo", Era.LEGACY), session=session)).status_code == 503
    await asyncio.to_thread(await_end_of, [pid])
    assert (await ask(world, calling("echo", Era.LEGACY), session=session)).status_code == 404


async def test_sessions_are_no_more_than_allowed(world: World) -> None:
    """One more is refused with a time to come again, and those that are open go on."""
    sessions = [await open_session(world), await open_session(world)]
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    answer = await ask(world, legacy("initialize", params))
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert [await say_in(world, session, "echo", text="x") for session in sessions] == ["x", "x"]


async def test_a_session_that_nobody_uses_is_ended(tmp_path: Path) -> None:
    """After its idle time the process is gone and the session unknown; one whose client listens stays."""
    async with gateway_before(tmp_path, small_server("legacy", session_idle=1)) as world:
        idle, listened = await open_session(world), await open_session(world)
        pid = int(await say_in(world, idle, "pid"))
        async with listening(world, listened):
            await asyncio.to_thread(await_end_of, [pid])
            assert (await ask(world, calling("echo", Era.LEGACY), session=idle)).status_code == 404
            assert await say_in(world, listened, "echo", text="x") == "x"


async def test_a_server_of_both_eras_serves_both(tmp_path: Path) -> None:
    """Stateless calls share its standing process; a handshake opens a session with a process of its own."""
    async with gateway_before(tmp_path, small_server("both")) as world:
        assert world.way.eras == set(Era)
        shared = text_of(await ask(world, calling("pid")))
        session = await open_session(world)
        own = await say_in(world, session, "pid")
        assert [shared, own] == [str(pid) for pid in pids(world)]
        assert text_of(await ask(world, calling("pid"))) == shared


async def test_lists_are_filtered_as_over_http(world: World) -> None:
    """What a caller may not see is not in the list, whichever way the server is reached."""
    session = await open_session(world)
    shown = await ask(world, legacy("tools/list"), session=session)
    assert [tool["name"] for tool in messages_of(shown)[0]["result"]["tools"]] == ["echo"]
    hidden = await world.send(legacy("tools/list"), token=world.token(scope="none"), mcp_session_id=session)
    assert messages_of(hidden)[0]["result"]["tools"] == []


async def test_the_sessions_end_with_the_gateway(tmp_path: Path) -> None:
    """Stopping leaves no process of a session, though it is deaf."""
    async with gateway_before(tmp_path, small_server("legacy", "--deaf")) as world:
        await open_session(world)
        running = pids(world)
        assert len(running) == 2
        assert all(is_running(pid) for pid in running)
    assert not any(is_running(pid) for pid in running)


async def test_a_discovery_of_a_server_of_the_handshake_era_is_no_discovery(world: World) -> None:
    """`server/discover` is refused as any stateless request is, so that a client falls back to a handshake."""
    assert (await ask(world, modern("server/discover"))).status_code == 400
