"""Unmodified clients of others through our gateway to unmodified servers of others, on both eras of MCP."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from fastmcp import Client as FastClient
from fastmcp.client.transports import StreamableHttpTransport
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from scripts.fetch_real import entry_of, environment, node
from tests.support.inspector import inspect
from tests.support.installations import Installation, await_verdict, installed, run_by
from tests.support.processes import free_port, started
from tests.support.relay import relayed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def legacy(tmp_path: Path, everything_npm: str) -> Iterator[Installation]:
    """The reference server, which speaks 2025-11-25 and checks no token, behind a gateway told to accept that."""
    with _watched(tmp_path / "legacy", everything_npm) as installation:
        yield installation


@pytest.fixture
def modern(tmp_path: Path) -> Iterator[Installation]:
    """A server of the official SDK, which speaks both eras and checks no token."""
    port = free_port()
    server = [sys.executable, "-m", "conformance.everything_server", "--port", str(port), "--bare"]
    with (
        started(server, ports=[port], folder=ROOT),
        _watched(tmp_path / "modern", f"http://127.0.0.1:{port}/mcp") as installation,
    ):
        yield installation


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Installation]:
    """The reference server on its standard streams, run by the gateway."""
    entry = entry_of("@modelcontextprotocol/server-everything", "mcp-server-everything")
    upstream = run_by(node(), entry, "stdio", environment=environment(tmp_path))
    with installed(tmp_path / "local", upstream) as installation:
        yield installation


@contextmanager
def _watched(folder: Path, upstream: str) -> Iterator[Installation]:
    """A gateway and a relay before this server. At the end: the server was sent tokens, and nothing of the client's."""
    with relayed(upstream, folder / "sent") as relay:
        with installed(folder / "perhop", relay.url, unsafe_open=True) as installation:
            assert await_verdict(installation, ["open", "enforces", "inconclusive"]) == "open"
            yield installation
        assert any(sent.bearer for sent in relay.recordings.requests())
        assert relay.recordings.traces(installation.presented) == []


def _bearer(installation: Installation) -> dict[str, str]:
    return {"Authorization": f"Bearer {installation.token()}"}


async def test_the_official_client_calls_streams_and_lives_with_a_refusal(legacy: Installation) -> None:
    """The SDK's client gets an answer, a stream with progress, a refusal as an error of its own, and goes on."""
    seen: list[float] = []

    async def progress(done: float, _total: float | None, _message: str | None) -> None:
        seen.append(done)

    async with (
        httpx2.AsyncClient(headers=_bearer(legacy), timeout=30) as http,
        Client(streamable_http_client(legacy.url, http_client=http)) as client,
    ):
        assert client.protocol_version == "2025-11-25"
        assert "get-env" not in {tool.name for tool in (await client.list_tools()).tools}
        assert "hello" in str(await client.call_tool("echo", {"message": "hello"}))
        await client.call_tool(
            "trigger-long-running-operation", {"duration": 1, "steps": 3}, progress_callback=progress
        )
        with pytest.raises(MCPError) as refusal:
            await client.call_tool("get-env", {})
        assert "again" in str(await client.call_tool("echo", {"message": "again"}))
    assert seen == [1.0, 2.0, 3.0]
    assert refusal.value.error.code == -31403
    assert refusal.value.error.data["reason"] == "policy.denied"
    (record,) = legacy.records("--reason", "policy.denied")
    assert record["call"]["id"] == refusal.value.error.data["record"]


async def test_the_official_client_speaks_2026_07_28_through_the_gateway(modern: Installation) -> None:
    """On the stateless revision: an answer, a stream with progress, a refusal, and an answer after it."""
    seen: list[float] = []

    async def progress(done: float, _total: float | None, _message: str | None) -> None:
        seen.append(done)

    async with (
        httpx2.AsyncClient(headers=_bearer(modern), timeout=30) as http,
        Client(streamable_http_client(modern.url, http_client=http)) as client,
    ):
        assert client.protocol_version == "2026-07-28"
        await client.call_tool("test_tool_with_progress", {}, progress_callback=progress)
        with pytest.raises(MCPError) as refusal:
            await client.call_tool("get-env", {})
        answer = await client.call_tool("test_simple_text", {})
    assert seen == [0.0, 50.0, 100.0]
    assert refusal.value.error.code == -31403
    assert "simple text" in str(answer)
    assert {record["call"]["revision"] for record in modern.records("--event", "call.permitted")} == {"2026-07-28"}


async def test_fastmcps_client_gets_an_answer_and_a_refusal(legacy: Installation, modern: Installation) -> None:
    """FastMCP's client works through the gateway on both eras."""
    for installation, tool, arguments in ((legacy, "echo", {"message": "hello"}), (modern, "test_simple_text", {})):
        transport = StreamableHttpTransport(installation.url, headers=_bearer(installation))
        async with FastClient(transport) as client:
            assert not (await client.call_tool(tool, arguments)).is_error
            with pytest.raises(MCPError, match="not allowed"):
                await client.call_tool("get-env", {})


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_inspector_calls_a_tool_on_either_era(modern: Installation, era: str) -> None:
    """The Inspector's command line gets an answer on both eras."""
    token = modern.token()
    called = await inspect(
        modern.url,
        "tools/call",
        "--tool-name",
        "test_simple_text",
        token=token,
        era="modern" if era == "modern" else "legacy",
    )
    assert "simple text" in called.answer()["content"][0]["text"]


async def test_the_inspector_is_told_that_a_forbidden_tool_is_not_there(legacy: Installation) -> None:
    """What policy forbids is not in the list that the Inspector reads before it calls."""
    token = legacy.token()
    called = await inspect(legacy.url, "tools/call", "--tool-name", "echo", "--tool-arg", "message=hello", token=token)
    assert "hello" in called.answer()["content"][0]["text"]
    hidden = await inspect(legacy.url, "tools/call", "--tool-name", "get-env", token=token)
    assert hidden.failure()["code"] == "tool_not_found"


async def test_a_client_of_the_new_era_learns_that_the_server_is_of_the_old_one(legacy: Installation) -> None:
    """A modern-only client is told which revisions are spoken there: none of its own."""
    inspected = await inspect(legacy.url, "tools/call", "--tool-name", "echo", token=legacy.token(), era="modern")
    assert "spoken here: 2025-11-25" in inspected.failure()["message"]


async def test_a_local_server_is_used_as_one_over_http(local: Installation) -> None:
    """The reference server, run by `perhop serve`: two sessions, a stream with progress, a refusal, a resource."""
    seen: list[float] = []

    async def progress(done: float, _total: float | None, _message: str | None) -> None:
        seen.append(done)

    async with (
        httpx2.AsyncClient(headers=_bearer(local), timeout=30) as http,
        Client(streamable_http_client(local.url, http_client=http)) as client,
        Client(streamable_http_client(local.url, http_client=http)) as other,
    ):
        assert client.protocol_version == "2025-11-25"
        assert "get-env" not in {tool.name for tool in (await client.list_tools()).tools}
        await client.call_tool(
            "trigger-long-running-operation", {"duration": 1, "steps": 3}, progress_callback=progress
        )
        with pytest.raises(MCPError) as refusal:
            await client.call_tool("get-env", {})
        assert "hello" in str(await other.call_tool("echo", {"message": "hello"}))
        assert (await client.list_resources()).resources
    assert seen == [1.0, 2.0, 3.0]
    assert refusal.value.error.data["reason"] == "policy.denied"
