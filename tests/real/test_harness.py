"""The real software runs here and answers, with nothing of ours in between."""

from __future__ import annotations

from mcp.client import Client

from scripts.fetch_real import node, version_of
from tests.support.inspector import inspect


async def test_the_official_sdk_lists_the_tools_of_the_reference_server(everything_npm: str) -> None:
    """The reference server comes up on a free port, and the official SDK's client reads its tools."""
    async with Client(everything_npm) as client:
        listed = await client.list_tools()
    assert "echo" in {tool.name for tool in listed.tools}


async def test_the_inspector_calls_a_tool_of_the_reference_server(everything_npm: str) -> None:
    """The Inspector's command line calls a tool and prints the result as JSON."""
    inspected = await inspect(everything_npm, "tools/call", "--tool-name", "echo", "--tool-arg", "message=hello")
    assert "hello" in inspected.answer()["content"][0]["text"], inspected.errors


def test_the_pins_name_node_22_and_exact_versions() -> None:
    """Every package is pinned to one version, and Node is of the line that the suite needs."""
    assert version_of("@modelcontextprotocol/conformance") == "0.2.0-alpha.12"
    assert all(version_of(f"@modelcontextprotocol/{name}")[0].isdigit() for name in ("inspector", "server-everything"))
    assert node().is_file()
