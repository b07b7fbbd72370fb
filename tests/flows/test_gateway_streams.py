"""Streams through the gateway: unbuffered, cut when they must end, and let go when nobody listens any more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.gateway.gate import Limits
from perhop.rules.revocation import RevocationKind
from tests.support.gateways import World, gateway
from tests.support.upstreams import (
    COMMON_HEADERS,
    BreakOff,
    Scripted,
    event,
    json_answer,
    legacy,
    modern,
    stream_answer,
)

PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
DONE = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


class Tap:
    """A stream that the test writes, chunk by chunk; None ends it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def write(self, *chunks: bytes | None) -> None:
        for chunk in chunks:
            self.queue.put_nowait(chunk)

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self.queue.get()) is not None:
            yield chunk


def tapped(world: World) -> Tap:
    tap = Tap()
    world.upstream.script = lambda _: stream_answer(tap.chunks())
    return tap


def just_before_a_second_ends(world: World) -> int:
    """Put the clock a fifth of a second before a full one; returns that one."""
    world.clock.ahead = 0.8 - time.time() % 1
    return int(world.clock()) + 1


def call(tool: str = "list_events") -> tuple[dict[str, str], bytes]:
    return modern("tools/call", {"name": tool, "arguments": {}})


def opening(world: World, request: tuple[dict[str, str], bytes] | None = None, **claims: Any) -> Any:
    """Open a stream: POST this message, or GET without one."""
    if request is None:
        headers = {"accept": "text/event-stream", "mcp-protocol-version": "2025-11-25"}
        return world.http.stream("GET", world.url, headers={**headers, **world.bearer(**claims)})
    return world.http.stream("POST", world.url, headers={**request[0], **world.bearer(**claims)}, content=request[1])


async def test_events_are_forwarded_before_the_stream_ends(world: World) -> None:
    """The first event is at the client while the upstream has not written the second."""
    tap = tapped(world)
    tap.write(event(PROGRESS))
    async with opening(world, call()) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-accel-buffering"] == "no"
        chunks = answer.aiter_bytes()
        assert await anext(chunks) == event(PROGRESS)
        tap.write(b": ping\r\n\r\n")
        assert await anext(chunks) == b": ping\r\n\r\n"
        tap.write(event(DONE), None)
        assert b"".join([chunk async for chunk in chunks]) == event(DONE)
    assert (await world.records(2))[-1]["result"]["status"] == 200


async def test_an_event_in_pieces_is_forwarded_whole(world: World) -> None:
    """Chunks of the upstream's connection are no events: what is cut in two arrives in one."""
    tap = tapped(world)
    whole = event(PROGRESS)
    async with opening(world, call()) as answer:
        chunks = answer.aiter_bytes()
        for byte in whole:
            tap.write(bytes([byte]))
        assert await anext(chunks) == whole
        tap.write(None)


async def test_a_listen_stream_is_cut_when_its_token_expires(world: World) -> None:
    """The last event is -31401 with the request's id, and the upstream is let go."""
    end = just_before_a_second_ends(world)
    tap = tapped(world)
    tap.write(event(PROGRESS))
    request = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, rpc_id="sub-1")
    async with opening(world, request, exp=end) as answer:
        octets = b"".join([chunk async for chunk in answer.aiter_bytes()])
    last = json.loads(octets.rpartition(b"data: ")[2])
    permit, ended = await world.records(2)
    assert last["id"] == "sub-1"
    assert last["error"]["code"] == -31401
    assert last["error"]["data"] == {"reason": "token.expired", "record": permit["call"]["id"]}
    assert ended["result"]["error"] == "cut"
    await asyncio.wait_for(world.upstream.gone.wait(), 5)


async def test_a_get_stream_is_cut_with_a_comment(world: World) -> None:
    """There is no request to answer, so the last words are a comment."""
    end = just_before_a_second_ends(world)
    tapped(world)
    async with opening(world, exp=end) as answer:
        octets = b"".join([chunk async for chunk in answer.aiter_bytes()])
    assert octets == b": token.expired\n\n"


async def test_a_stop_cuts_streams_that_have_no_end(world: World) -> None:
    """A gateway that stops does not wait for a standing stream, and says that it was not the token."""
    tap = tapped(world)
    tap.write(event(PROGRESS))
    async with opening(world) as answer:
        chunks = answer.aiter_bytes()
        await anext(chunks)
        world.gate.revoked.supersede("a test")
        rest = b"".join([chunk async for chunk in chunks])
    assert rest == b": upstream.unavailable\n\n"
    await asyncio.wait_for(world.upstream.gone.wait(), 5)


async def test_a_stop_lets_an_answer_end(world: World) -> None:
    """A call that runs is not cut by a stop: it may end."""
    tap = tapped(world)
    tap.write(event(PROGRESS))
    async with opening(world, call()) as answer:
        chunks = answer.aiter_bytes()
        await anext(chunks)
        world.gate.revoked.supersede("a test")
        tap.write(event(DONE), None)
        assert b"".join([chunk async for chunk in chunks]) == event(DONE)


async def test_an_answer_outlives_its_token(world: World) -> None:
    """A call that was permitted may end after its token has expired."""
    end = just_before_a_second_ends(world)
    tap = tapped(world)
    tap.write(event(PROGRESS))
    async with opening(world, call(), exp=end) as answer:
        chunks = answer.aiter_bytes()
        await anext(chunks)
        world.clock.ahead += 10
        tap.write(event(DONE), None)
        assert b"".join([chunk async for chunk in chunks]) == event(DONE)


@pytest.mark.parametrize("request_", [call(), None], ids=["POST", "GET"])
async def test_a_revocation_cuts_open_streams(world: World, request_: tuple[dict[str, str], bytes] | None) -> None:
    """Whoever revokes a token ends its streams at once."""
    tap = tapped(world)
    tap.write(event(PROGRESS))
    async with opening(world, request_, jti="stolen", iat=int(world.clock()) - 5) as answer:
        chunks = answer.aiter_bytes()
        await anext(chunks)
        world.revoke(RevocationKind.TOKEN, "stolen")
        rest = b"".join([chunk async for chunk in chunks])
    assert b"token.revoked" in rest
    assert (b"-31401" in rest) == (request_ is not None)
    await asyncio.wait_for(world.upstream.gone.wait(), 5)


async def test_a_revocation_of_another_token_cuts_nothing(world: World) -> None:
    """Streams of other tokens go on."""
    tap = tapped(world)
    tap.write(event(PROGRESS))
    async with opening(world, call(), iat=int(world.clock()) - 5) as answer:
        chunks = answer.aiter_bytes()
        await anext(chunks)
        world.revoke(RevocationKind.TOKEN, "another")
        tap.write(event(DONE), None)
        assert b"".join([chunk async for chunk in chunks]) == event(DONE)


async def test_a_revocation_reaches_a_call_that_waits_for_its_upstream(world: World) -> None:
    """A call without an answer yet is refused, and its upstream let go."""
    asked = asyncio.Event()

    async def never(_: object) -> Scripted:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    world.upstream.script = never
    token = world.token(jti="stolen", iat=int(world.clock()) - 5)
    answering = asyncio.create_task(world.send(call(), token=token))
    await asked.wait()
    world.revoke(RevocationKind.TOKEN, "stolen")
    assert (await answering).status_code == 401
    assert (await world.records(2))[-1]["result"] | {"duration_ms": 0} == {
        "status": 401,
        "error": "token.revoked",
        "duration_ms": 0,
    }
    await asyncio.wait_for(world.upstream.gone.wait(), 5)


async def test_a_call_may_not_take_for_ever(tmp_path: Path) -> None:
    """After `max_call` an open answer is cut, and a call without one is unavailable."""
    async with gateway(tmp_path, limits=Limits(max_call_seconds=0.2)) as world:
        tap = tapped(world)
        tap.write(event(PROGRESS))
        async with opening(world, call()) as answer:
            octets = b"".join([chunk async for chunk in answer.aiter_bytes()])
        assert json.loads(octets.rpartition(b"data: ")[2])["error"]["code"] == -31401
        world.upstream.script = lambda _: asyncio.Event().wait()  # type: ignore[assignment,return-value]  # never answers
        answer = await world.send(call())
        assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (503, "upstream.unavailable")


async def test_a_client_that_leaves_its_stream_takes_the_upstream_along(world: World) -> None:
    """Closing the answer closes the upstream's, and the outcome says so."""
    tap = tapped(world)
    tap.write(event(PROGRESS))
    async with opening(world, call()) as answer:
        await anext(answer.aiter_bytes())
    await asyncio.wait_for(world.upstream.gone.wait(), 5)
    assert (await world.records(2))[-1]["result"]["error"] == "cancelled"


async def test_a_client_that_leaves_before_there_is_an_answer(world: World) -> None:
    """A call whose caller is gone is dropped while the upstream still thinks."""
    asked = asyncio.Event()

    async def never(_: object) -> Scripted:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    world.upstream.script = never
    answering = asyncio.create_task(world.send(call()))
    await asked.wait()
    answering.cancel()
    await asyncio.wait_for(world.upstream.gone.wait(), 5)
    assert (await world.records(2))[-1]["result"]["error"] == "cancelled"


async def test_an_upstream_that_breaks_off_ends_the_stream(world: World) -> None:
    """The client sees the end, the journal the reason."""

    read = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield event(PROGRESS)
        await read.wait()
        raise BreakOff

    world.upstream.script = lambda _: stream_answer(broken())
    async with opening(world, call()) as answer:
        chunks = answer.aiter_bytes()
        assert await anext(chunks) == event(PROGRESS)
        read.set()
        assert [chunk async for chunk in chunks] == []
    assert (await world.records(2))[-1]["result"]["error"] == "upstream.unavailable"


async def test_streams_run_beside_each_other(world: World) -> None:
    """An open stream holds up no other call of the same client."""
    tap = tapped(world)
    tap.write(event(PROGRESS))
    async with opening(world, None) as standing:
        await anext(standing.aiter_bytes())
        world.upstream.script = lambda _: json_answer({"ok": True})
        answers = await asyncio.gather(*(world.send(call()) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}


async def opened(world: World, session: str, rpc_id: object = "s-1") -> httpx2.Response:
    """A call during which the server asks the client something."""
    asking = {"jsonrpc": "2.0", "id": rpc_id, "method": "sampling/createMessage", "params": {}}
    world.upstream.script = lambda _: stream_answer((event(asking), event(DONE)), mcp_session_id="up-1")
    headers, body = legacy("tools/call", {"name": "list_events", "arguments": {}})
    return await world.send((headers, body), mcp_session_id=session)


async def respond(
    world: World, session: str, rpc_id: object, *, taken: int | None = 202, **claims: Any
) -> httpx2.Response:
    """A client's answer to a server's request; `taken` is what the server says to it, None if it drops it."""

    def says(_: object) -> Scripted:
        if taken is None:
            raise BreakOff
        return Scripted(taken, {}, ())

    body = json.dumps({"jsonrpc": "2.0", "id": rpc_id, "result": {}}).encode()
    headers = {**COMMON_HEADERS, "mcp-protocol-version": "2025-11-25"}
    world.upstream.script = says
    return await world.send((headers, body), token=world.token(**claims), mcp_session_id=session)


async def handshake(world: World, **claims: Any) -> str:
    """A session, as the client knows it."""
    world.upstream.script = lambda _: json_answer({"protocolVersion": "2025-11-25"}, mcp_session_id="up-1")
    headers, body = legacy("initialize", {"protocolVersion": "2025-11-25"})
    return (await world.send((headers, body), token=world.token(**claims))).headers["mcp-session-id"]


async def test_a_response_goes_only_to_an_open_request_of_its_session(world: World) -> None:
    """An answer that nobody asked for is refused; the one that was asked for passes once."""
    session = await handshake(world)
    assert (await respond(world, session, "s-1")).status_code == 400
    await opened(world, session)
    before = len(world.upstream.received)
    assert (await respond(world, session, "s-2")).status_code == 400
    assert (await respond(world, session, "s-1", sub="user:eve")).status_code == 404
    assert len(world.upstream.received) == before
    assert (await respond(world, session, "s-1")).status_code == 202
    assert world.upstream.last.header("mcp-session-id") == "up-1"
    assert (await respond(world, session, "s-1")).status_code == 400


async def test_of_several_answers_at_once_one_goes_on(world: World) -> None:
    """Each of them finds the request open; the server hears one."""
    session = await handshake(world)
    await opened(world, session)
    before = len(world.upstream.received)
    answers = await asyncio.gather(*(respond(world, session, "s-1") for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202, *[400] * 7]
    assert len(world.upstream.received) == before + 1


@pytest.mark.parametrize("status", [302, 401, 409, 503])
async def test_an_answer_that_the_server_did_not_take_may_come_again(world: World, status: int) -> None:
    """Whatever it said instead; and so it is when it said nothing at all."""
    session = await handshake(world)
    await opened(world, session)
    assert (await respond(world, session, "s-1", taken=status)).status_code != 202
    assert (await respond(world, session, "s-1")).status_code == 202


async def test_an_answer_that_did_not_reach_the_server_may_come_again(world: World) -> None:
    """Nobody has heard it."""
    session = await handshake(world)
    await opened(world, session)
    assert (await respond(world, session, "s-1", taken=None)).status_code == 503
    assert (await respond(world, session, "s-1")).status_code == 202
    assert (await respond(world, session, "s-1")).status_code == 400


async def test_an_id_of_another_type_is_another_request(world: World) -> None:
    """`1` and `"1"` are two ids."""
    session = await handshake(world)
    await opened(world, session, rpc_id=1)
    assert (await respond(world, session, "1")).status_code == 400
    assert (await respond(world, session, 1)).status_code == 202
