"""The official SDK's client through the gateway to the official SDK's server, unmodified, in both eras."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.support.gateways import World, gateway
from tests.support.upstreams import sdk_upstream

POLICIES = """
@id("all") permit (principal, action, resource);
@id("no-fail") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/fail");
@id("small") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/count")
    when { context.arguments has to && context.arguments.to > 3 };
"""

Era = Literal["legacy", "2026-07-28"]
ERAS: tuple[Era, ...] = ("legacy", "2026-07-28")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with sdk_upstream() as url, gateway(tmp_path, policies=(POLICIES,), upstream_url=url) as made:
        yield made


@asynccontextmanager
async def client(world: World, era: Era) -> AsyncIterator[Client]:
    """The SDK's client with a token of ours, and nothing else changed."""
    async with (
        httpx2.AsyncClient(headers=world.bearer(), timeout=10) as http,
        Client(streamable_http_client(world.url, http_client=http), mode=era) as connected,
    ):
        yield connected


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_calls_lists_and_reads(world: World, era: Era) -> None:
    """Tools, prompts and resources work as without a gateway, but for what the caller may not see."""
    async with client(world, era) as connected:
        assert [tool.name for tool in (await connected.list_tools()).tools] == ["add", "echo", "count"]
        assert (await connected.call_tool("add", {"a": 2, "b": 3})).structured_content == {"result": 5}
        assert (await connected.read_resource("note://today")).contents[0].text == "rain"  # type: ignore[union-attr]  # text it is
        assert (await connected.get_prompt("greet", {"name": "ann"})).messages
    events = [record["event"] for record in await world.records(8)]
    assert "call.refused" not in events


@pytest.mark.parametrize("era", ERAS)
async def test_progress_streams_through(world: World, era: Era) -> None:
    """Notifications of a running call reach the client before its result."""
    seen: list[float] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        seen.append(value)

    async with client(world, era) as connected:
        result = await connected.call_tool("count", {"to": 3}, progress_callback=progress)
    assert seen == [1, 2, 3]
    assert not result.is_error


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("tool", "arguments"), [("fail", {}), ("count", {"to": 4})])
async def test_a_refusal_by_policy_is_an_error_of_the_call(
    world: World, era: Era, tool: str, arguments: dict[str, Any]
) -> None:
    """The client sees what was refused, and its connection lives on."""
    async with client(world, era) as connected:
        await connected.list_tools()
        with pytest.raises(MCPError) as refused:
            await connected.call_tool(tool, arguments)
        assert refused.value.error.code == -31403
        assert refused.value.error.data["reason"] == "policy.denied"
        assert not (await connected.call_tool("add", {"a": 1, "b": 1})).is_error
