"""An upstream of one era behind a client of the other: answered with what is the case, or passed through.

Spec: MCP 2026-07-28 versioning
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from fastmcp import FastMCP
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from perhop.core.resource import CredentialKind
from perhop.gateway.readiness import Verdict
from perhop.gateway.self_test import SelfTest
from tests.support.asgi_server import serving
from tests.support.gateways import World, gateway
from tests.support.upstreams import (
    COMMON_HEADERS,
    Received,
    Scripted,
    json_answer,
    legacy,
    modern,
    raw_answer,
    sdk_server,
)

TOOLS = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
MODERN, LEGACY = "2026-07-28", "2025-11-25"
Mode = Literal["auto", "legacy", "2026-07-28"]


def rpc_error(received: Received, code: int, status: int, **more: Any) -> Scripted:
    body = {"jsonrpc": "2.0", "id": received.message.get("id"), "error": {"code": code, "message": "no", **more}}
    return raw_answer(json.dumps(body).encode(), status=status)


def modern_only(received: Received) -> Scripted:
    """A server of 2026-07-28 alone, as its specification wants it."""
    if received.method != "POST":
        return raw_answer(b"", status=405, allow="POST")
    message = received.message
    if "id" not in message:
        return Scripted(202, {}, ())
    if received.header("mcp-protocol-version") != MODERN:
        return rpc_error(received, -32020, 400)
    results: dict[str, Any] = {
        "server/discover": {"resultType": "complete", "supportedVersions": [MODERN, "2027-01-01"], "capabilities": {}},
        "tools/list": {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **TOOLS},
        "tools/call": {"resultType": "complete", "content": [{"type": "text", "text": "modern"}]},
    }
    if message["method"] not in results:
        return rpc_error(received, -32601, 404)
    return json_answer(results[message["method"]], rpc_id=message["id"])


def legacy_only(received: Received) -> Scripted:
    """A server of 2025-11-25 alone, with sessions, as its specification wants it."""
    if received.method == "GET":
        return raw_answer(b"", status=405, allow="POST, DELETE")
    if received.method == "DELETE":
        return Scripted(204, {}, ())
    if received.header("mcp-protocol-version") not in (None, LEGACY):
        return raw_answer(b"Bad Request: unsupported protocol version", status=400, content_type="text/plain")
    message = received.message
    if message.get("method") == "initialize":
        result = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
        return json_answer(result, rpc_id=message["id"], mcp_session_id="s")
    if received.header("mcp-session-id") != "s":
        return raw_answer(b"Bad Request: no session", status=400, content_type="text/plain")
    if "id" not in message:
        return Scripted(202, {}, ())
    results: dict[str, Any] = {"tools/list": TOOLS, "tools/call": {"content": [{"type": "text", "text": "legacy"}]}}
    if message["method"] not in results:
        return rpc_error(received, -32601, 200)
    return json_answer(results[message["method"]], rpc_id=message["id"])


SERVERS = {"modern": modern_only, "legacy": legacy_only}


async def meet(world: World) -> None:
    """The gateway gets to know its upstream."""
    gate = world.gate
    test = SelfTest(
        resource=gate.resource,
        tokens=world.exchanger,
        upstream=gate.upstream,
        readiness=gate.readiness,
        catalogue=gate.catalogue,
        revisions=gate.revisions,
    )
    await test.run()
    gate.readiness.verdict = Verdict.ENFORCES
    world.upstream.received.clear()


@asynccontextmanager
async def behind(folder: Path, server: str) -> AsyncIterator[World]:
    async with gateway(folder) as world:
        world.upstream.script = SERVERS[server]
        await meet(world)
        yield world


@asynccontextmanager
async def client(world: World, mode: Mode) -> AsyncIterator[Client]:
    """The official SDK's client with a token of ours, and nothing else changed."""
    async with (
        httpx2.AsyncClient(headers=world.bearer(), timeout=10) as http,
        Client(streamable_http_client(world.url, http_client=http), mode=mode) as connected,
    ):
        yield connected


async def told(world: World, request: tuple[dict[str, str], bytes]) -> tuple[int, int, list[str], str]:
    """What a refused request is told: status, code, supported, requested."""
    answer = await world.send(request)
    error = answer.json()["error"]
    assert answer.json()["id"] == json.loads(request[1])["id"]
    assert all(each in error["message"] for each in error["data"]["supported"])
    return answer.status_code, error["code"], error["data"]["supported"], error["data"]["requested"]


@pytest.mark.parametrize("method", ["server/discover", "tools/list", "tools/call", "subscriptions/listen"])
async def test_a_modern_request_before_a_legacy_upstream(tmp_path: Path, method: str) -> None:
    """400 with -32022, which names the revisions with a handshake that the upstream speaks, and is not sent on."""
    async with behind(tmp_path, "legacy") as world:
        request = modern(method, {"name": "echo", "notifications": {}})
        assert await told(world, request) == (400, -32022, [LEGACY], MODERN)
        assert world.upstream.received == []
        assert (await world.records(1))[-1]["reason"] == "request.malformed"


async def test_an_unknown_revision_before_a_legacy_upstream(tmp_path: Path) -> None:
    """What is named as supported is what the upstream speaks, not what the gateway could."""
    async with behind(tmp_path, "legacy") as world:
        headers, body = modern("tools/list")
        headers["mcp-protocol-version"] = "2099-01-01"
        request = headers, body.replace(MODERN.encode(), b"2099-01-01")
        assert await told(world, request) == (400, -32022, [LEGACY], "2099-01-01")
        assert (await told(world, legacy("ping", revision="2024-11-05")))[2] == [LEGACY, "2025-06-18", "2025-03-26"]


@pytest.mark.parametrize("asked", [LEGACY, "2025-06-18", "2024-11-05"])
async def test_a_handshake_before_a_modern_upstream(tmp_path: Path, asked: str) -> None:
    """400 with -32022 whose very text names what is spoken: an old client has nothing else to show."""
    async with behind(tmp_path, "modern") as world:
        headers, body = legacy("initialize", {"protocolVersion": asked, "capabilities": {}})
        del headers["mcp-protocol-version"]
        assert await told(world, (headers, body)) == (400, -32022, [MODERN], asked)
        assert world.upstream.received == []


async def test_legacy_traffic_before_a_modern_upstream(tmp_path: Path) -> None:
    """Requests are told the revision, GET and DELETE that there is only POST, a missing version that it is missing."""
    async with behind(tmp_path, "modern") as world:
        assert await told(world, legacy("tools/list")) == (400, -32022, [MODERN], LEGACY)
        headers, body = legacy("tools/list")
        del headers["mcp-protocol-version"]
        unversioned = await world.send((headers, body))
        assert (unversioned.status_code, unversioned.json()["error"]["code"]) == (400, -32020)
        for http_method in ("GET", "DELETE"):
            for version in ({}, {"mcp-protocol-version": LEGACY}):
                answer = await world.http.request(http_method, world.url, headers={**world.bearer(), **version})
                assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        notification = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
        told_nothing = await world.send(({**COMMON_HEADERS, "mcp-protocol-version": LEGACY}, notification))
        assert (told_nothing.status_code, told_nothing.content) == (400, b"")
        assert world.upstream.received == []


@pytest.mark.parametrize("server", SERVERS)
async def test_what_is_not_known_is_for_the_upstream_to_answer(tmp_path: Path, server: str) -> None:
    """Before anything is known each request is sent on, and the upstream's own answer passes as it is."""
    async with gateway(tmp_path) as world:
        world.upstream.script = SERVERS[server]
        request = legacy("tools/list") if server == "modern" else modern("tools/list")
        answer = await world.send(request)
        direct = SERVERS[server](world.upstream.last)
        assert (answer.status_code, [answer.content]) == (direct.status, list(direct.chunks))


@pytest.mark.parametrize(("server", "request_"), [("modern", modern("tools/list")), ("legacy", legacy("tools/list"))])
async def test_the_upstreams_own_refusal_passes(tmp_path: Path, server: str, request_: Any) -> None:
    """In its own era an upstream's 400 is its own, and stays it."""
    async with behind(tmp_path, server) as world:
        world.upstream.script = lambda _: raw_answer(b'{"own":"words"}', status=400)
        answer = await world.send(request_)
        assert (answer.status_code, answer.content) == (400, b'{"own":"words"}')


async def test_a_discovery_advertises_what_can_be_served(tmp_path: Path) -> None:
    """A revision that the gateway does not serve is taken out, and so is one that the upstream does not speak."""
    async with behind(tmp_path, "modern") as world:
        found = (await world.send(modern("server/discover"))).json()["result"]
        assert found["supportedVersions"] == [MODERN]
        named = {"supportedVersions": [MODERN, LEGACY, "2099-01-01", 7]}
        world.upstream.script = lambda _: json_answer(named)
        assert (await world.send(modern("server/discover"))).json()["result"] == {"supportedVersions": [MODERN]}
        world.gate.revisions.learn({})
        found = (await world.send(modern("server/discover"))).json()["result"]
        assert found["supportedVersions"] == [MODERN, LEGACY]


@pytest.mark.parametrize(
    ("server", "mode", "heard"),
    [
        ("legacy", "auto", "legacy"),
        ("legacy", "legacy", "legacy"),
        ("modern", "auto", "modern"),
        ("modern", MODERN, "modern"),
    ],
)
async def test_a_client_that_can_talk_to_the_upstream_does(tmp_path: Path, server: str, mode: Mode, heard: str) -> None:
    """The SDK's client finds the era of the upstream behind the gateway, or was told it."""
    async with behind(tmp_path, server) as world, client(world, mode) as connected:
        assert [tool.name for tool in (await connected.list_tools()).tools] == ["echo"]
        (content,) = (await connected.call_tool("echo", {})).content
        assert getattr(content, "text", None) == heard


async def _fails(world: World, mode: Mode) -> MCPError:
    with pytest.raises((MCPError, ExceptionGroup)) as failed:
        async with client(world, mode) as connected:
            await connected.list_tools()
    error: BaseException = failed.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, MCPError)
    return error


@pytest.mark.parametrize(("server", "mode", "named"), [("legacy", MODERN, LEGACY), ("modern", "legacy", MODERN)])
async def test_a_client_that_cannot_is_shown_the_truth(tmp_path: Path, server: str, mode: Mode, named: str) -> None:
    """The error that the SDK's client raises says which revision would be understood."""
    async with behind(tmp_path, server) as world:
        error = await _fails(world, mode)
        assert error.error.code == -32022
        assert named in error.error.message


@asynccontextmanager
async def real(server: str) -> AsyncIterator[str]:
    """A server on the official SDK, or on FastMCP; yields the URL of its endpoint."""
    if server == "mcp":
        app: Any = sdk_server().streamable_http_app(host="127.0.0.1")
    else:
        fast = FastMCP("small")
        fast.tool(lambda a, b: a + b, name="add")
        app = fast.http_app()
    async with serving(lambda _: app) as url:
        yield f"{url}/mcp"


@pytest.mark.parametrize("server", ["mcp", "fastmcp"])
async def test_a_real_server_of_both_eras_serves_both(tmp_path: Path, server: str) -> None:
    """Nothing is refused in its stead, and a discovery advertises the revision that it speaks."""
    async with (
        real(server) as url,
        gateway(tmp_path, upstream_url=url, kind=CredentialKind.NONE) as world,
    ):
        await meet(world)
        assert world.gate.revisions.supported() == (MODERN, LEGACY)
        modes: tuple[Mode, ...] = ("auto", "legacy", MODERN)
        for mode in modes:
            async with client(world, mode) as connected:
                assert "add" in [tool.name for tool in (await connected.list_tools()).tools]
        async with client(world, "auto") as connected:
            assert connected.protocol_version == MODERN


@pytest.mark.parametrize("silent", [401, 403, 429, 500, 503])
async def test_an_upstream_that_says_nothing_of_it_is_not_known(tmp_path: Path, silent: int) -> None:
    """An answer about the caller or the moment is no evidence of an era."""

    def script(received: Received) -> Scripted:
        is_handshake = received.method == "POST" and received.message.get("method") == "initialize"
        return raw_answer(b"", status=silent) if is_handshake else modern_only(received)

    async with gateway(tmp_path) as world:
        world.upstream.script = script
        await meet(world)
        assert world.gate.revisions.may_serve(LEGACY)
        assert world.gate.revisions.supported() == (MODERN, LEGACY, "2025-06-18", "2025-03-26")


async def test_what_is_known_is_what_was_seen_last(tmp_path: Path) -> None:
    """An upstream that has learned the other era is asked again, and served."""
    async with behind(tmp_path, "legacy") as world:
        assert not world.gate.revisions.may_serve(MODERN)
        world.upstream.script = SERVERS["modern"]
        await meet(world)
        assert world.gate.revisions.may_serve(MODERN)
        assert not world.gate.revisions.may_serve(LEGACY)


async def test_an_upstream_that_lists_without_a_discovery_is_given_the_benefit(tmp_path: Path) -> None:
    """It answers what is asked under the stateless revision, so its silence about revisions is held against nobody."""

    def script(received: Received) -> Scripted:
        if received.method == "POST" and received.message.get("method") == "server/discover":
            return rpc_error(received, -32601, 404)
        return modern_only(received)

    async with gateway(tmp_path) as world:
        world.upstream.script = script
        await meet(world)
        assert world.gate.revisions.may_serve(MODERN)
        assert world.gate.revisions.may_serve(LEGACY)
