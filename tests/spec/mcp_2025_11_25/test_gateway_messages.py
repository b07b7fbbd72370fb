"""What the gateway makes of messages of the handshake revisions.

Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateways import World, gateway
from tests.support.upstreams import COMMON_HEADERS, Scripted, legacy, raw_answer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_the_revision_is_passed_on(world: World, revision: str) -> None:
    """The upstream gets the version header that came, and no mirrored ones."""
    assert (await world.send(legacy("ping", revision=revision), mcp_method="tools/call")).status_code == 200
    assert world.upstream.last.header("mcp-protocol-version") == revision
    assert world.upstream.last.header("mcp-method") is None
    assert (await world.records(1))[0]["call"]["revision"] == revision


async def test_no_version_header_is_none_upstream_either(world: World) -> None:
    """What is assumed here is for the upstream to assume as well."""
    headers, body = legacy("initialize", {"protocolVersion": "2025-11-25"})
    del headers["mcp-protocol-version"]
    assert (await world.send((headers, body))).status_code == 200
    assert world.upstream.last.header("mcp-protocol-version") is None


async def test_a_revision_before_ours_is_refused(world: World) -> None:
    """400, and what is supported."""
    response = await world.send(legacy("ping", revision="2024-11-05"))
    assert response.status_code == 400
    assert response.json()["error"]["data"]["requested"] == "2024-11-05"
    assert "2025-11-25" in response.json()["error"]["data"]["supported"]


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18"])
async def test_a_batch_is_refused(world: World, revision: str) -> None:
    """400 with -32600, also under the revision that had batches."""
    body = json.dumps([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]).encode()
    response = await world.send(({**COMMON_HEADERS, "mcp-protocol-version": revision}, body))
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32600)


async def test_an_unknown_method_is_400(world: World) -> None:
    """Under these revisions an unknown method is a bad request."""
    response = await world.send(legacy("server/discover", rpc_id="x"))
    assert (response.status_code, response.json()["error"]["code"], response.json()["id"]) == (400, -32601, "x")


async def test_what_the_upstream_answers_passes(world: World) -> None:
    """Its own 4xx with its own body reach the client, so that a client of another era can fall back."""
    world.upstream.script = lambda _: raw_answer(b"Bad Request: no session", status=400, content_type="text/plain")
    response = await world.send(legacy("tools/list"))
    assert (response.status_code, response.content) == (400, b"Bad Request: no session")


async def test_a_notification_is_acknowledged_by_the_upstream(world: World) -> None:
    """202 without a body passes as it is, and the call is recorded."""
    world.upstream.script = lambda _: Scripted(202, {}, ())
    body = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
    response = await world.send(({**COMMON_HEADERS, "mcp-protocol-version": "2025-11-25"}, body))
    assert (response.status_code, response.content) == (202, b"")
    permit, ended = await world.records(2)
    assert (permit["call"]["method"], ended["result"]["status"]) == ("notifications/initialized", 202)


async def test_an_upstream_without_streams_says_so(world: World) -> None:
    """Its 405 to GET passes, with what it allows."""
    world.upstream.script = lambda _: raw_answer(b"", status=405, allow="POST")
    headers = {**world.bearer(), "accept": "text/event-stream", "mcp-protocol-version": "2025-11-25"}
    response = await world.http.get(world.url, headers=headers)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("version", ["2024-11-05", "2025-11-26", "1.0", "", "2025-11-25, 2025-06-18", "DRAFT-2026-v1"])
@pytest.mark.parametrize("http_method", ["POST", "GET", "DELETE"])
async def test_a_version_header_that_names_no_revision_is_400(world: World, http_method: str, version: str) -> None:
    """An invalid or unsupported version is a bad request, whatever is asked."""
    headers, body = legacy("ping")
    named = {**headers, **world.bearer(), "mcp-protocol-version": version}
    answer = await world.http.request(http_method, world.url, headers=named, content=body if body else None)
    assert answer.status_code == 400
    assert world.upstream.received == []


async def test_a_request_without_a_version_is_of_the_revision_that_had_none(world: World) -> None:
    """It is recorded as 2025-03-26."""
    headers, body = legacy("tools/list")
    del headers["mcp-protocol-version"]
    assert (await world.send((headers, body))).status_code == 200
    assert (await world.records(1))[0]["call"]["revision"] == "2025-03-26"
