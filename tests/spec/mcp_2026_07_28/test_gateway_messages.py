"""What the gateway answers to wrong messages under 2026-07-28: status, code and id.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateways import World, gateway
from tests.support.upstreams import modern


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


async def answer(world: World, request: tuple[dict[str, str], bytes], **headers: str) -> tuple[int, int, Any]:
    response = await world.send(request, **headers)
    assert world.upstream.received == []
    (record,) = await world.records(1)
    body = response.json()
    assert body["error"]["data"]["reason"] == record["reason"]
    assert body["error"]["data"]["record"] == record["call"]["id"]
    return response.status_code, body["error"]["code"], body["id"]


async def test_a_header_that_differs_from_the_body(world: World) -> None:
    """400 with -32020 and the request's id; the decision is never made on the header."""
    request = modern("tools/call", {"name": "add"}, rpc_id="r-1")
    assert await answer(world, request, mcp_name="echo") == (400, -32020, "r-1")
    assert (await world.records(1))[0]["reason"] == "header.mismatch"


async def test_an_unsupported_revision(world: World) -> None:
    """400 with -32022, what is supported and what was asked for."""
    headers, body = modern("tools/list", rpc_id=7)
    headers["mcp-protocol-version"] = "2099-01-01"
    response = await world.send((headers, body.replace(b"2026-07-28", b"2099-01-01")))
    error = response.json()["error"]
    assert (response.status_code, error["code"], response.json()["id"]) == (400, -32022, 7)
    assert error["data"]["supported"] == ["2026-07-28"]
    assert error["data"]["requested"] == "2099-01-01"


@pytest.mark.parametrize(
    "method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "x/y", "tasks/list", "tasks/result"]
)
async def test_an_unknown_or_removed_method(world: World, method: str) -> None:
    """404 with -32601 and the request's id."""
    assert await answer(world, modern(method, rpc_id="m")) == (404, -32601, "m")


async def test_missing_metadata(world: World) -> None:
    """400 with -32602."""
    headers, body = modern("tools/list")
    bare = json.dumps({**json.loads(body), "params": {}}).encode()
    assert await answer(world, (headers, bare)) == (400, -32602, 1)


@pytest.mark.parametrize(
    ("body", "code"), [(b"{", -32700), (b"[]", -32600), (b'{"jsonrpc":"2.0","id":1,"result":{}}', -32600)]
)
async def test_bodies_that_are_no_request(world: World, body: bytes, code: int) -> None:
    """Neither a batch nor a response is taken; an id that is not there is null."""
    assert await answer(world, (modern("tools/list")[0], body)) == (400, code, None)


@pytest.mark.parametrize("http_method", ["GET", "DELETE"])
async def test_get_and_delete(world: World, http_method: str) -> None:
    """405 with what is allowed."""
    headers = {**world.bearer(), "mcp-protocol-version": "2026-07-28"}
    response = await world.http.request(http_method, world.url, headers=headers)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert world.upstream.received == []


async def test_parameter_headers_pass_unchanged(world: World) -> None:
    """`Mcp-Param-*` reaches the upstream as it came; the other mirrored headers are written anew."""
    request = modern("tools/call", {"name": "add", "arguments": {"day": "é"}})
    await world.send(request, mcp_param_day="=?base64?w6k=?=", mcp_name="=?base64?YWRk?=", mcp_other="x")
    received = world.upstream.last
    assert received.header("mcp-param-day") == "=?base64?w6k=?="
    assert received.header("mcp-name") == "add"
    assert received.header("mcp-other") is None


MIRRORED = {
    "name": "add",
    "inputSchema": {"type": "object", "properties": {"day": {"type": "string", "x-mcp-header": "Day"}}},
}


@pytest.mark.parametrize("came", [None, "monday", "=?base64?bW9uZGF5?=", "=?base64?w6k?=", "\u00e9"])
async def test_a_parameter_header_that_differs_from_its_argument(world: World, came: str | None) -> None:
    """Where the gateway knows the tool's schema, a missing, other or ill-encoded header is 400 with -32020."""
    await world.gate.catalogue.learn([MIRRORED])
    headers, body = modern("tools/call", {"name": "add", "arguments": {"day": "é"}}, rpc_id="p")
    if came is not None:
        headers["mcp-param-day"] = came
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in {**headers, **world.bearer()}.items()]
    response = await world.http.post(world.url, headers=encoded, content=body)
    assert (response.status_code, response.json()["error"]["code"], response.json()["id"]) == (400, -32020, "p")
    assert world.upstream.received == []


async def test_a_parameter_header_goes_on_written_from_its_argument(world: World) -> None:
    """One that the schema names is written anew, beside others that pass as they came."""
    await world.gate.catalogue.learn([MIRRORED])
    request = modern("tools/call", {"name": "add", "arguments": {"day": "monday"}})
    await world.send(request, mcp_param_day="=?base64?bW9uZGF5?=", mcp_param_other="=?base64?eA==?=")
    received = [each for each in world.upstream.last.headers if each[0].startswith("mcp-param-")]
    assert received == [("mcp-param-other", "=?base64?eA==?="), ("mcp-param-day", "monday")]


async def test_an_argument_that_is_not_there_has_no_header(world: World) -> None:
    """One that is left out is not mirrored, and a header alone mirrors nothing."""
    await world.gate.catalogue.learn([MIRRORED])
    request = modern("tools/call", {"name": "add", "arguments": {}})
    assert (await world.send(request)).status_code == 200
    assert (await world.send(request, mcp_param_day="monday")).status_code == 400


async def test_a_refused_notification_has_no_body(world: World) -> None:
    """Nobody waits for an answer to it."""
    headers = {**modern("tools/list")[0], "mcp-method": "notifications/unknown"}
    body = json.dumps({"jsonrpc": "2.0", "method": "notifications/unknown"}).encode()
    response = await world.send((headers, body))
    assert (response.status_code, response.content) == (404, b"")


async def test_a_listen_filter_is_judged_by_each_of_its_uris(tmp_path: Path) -> None:
    """One URI that policy does not permit refuses the whole subscription."""
    forbid = """
    @id("all") permit (principal, action, resource);
    @id("secret") forbid (principal, action, resource == MCP::Resource::"calendar/note://secret");
    """
    async with gateway(tmp_path, policies=(forbid,)) as world:
        for uris, status in ((["note://a"], 200), (["note://a", "note://secret"], 403)):
            request = modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})
            assert (await world.send(request)).status_code == status
