"""MCP requests of 2026-07-28, written by hand: a thief does not greet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_REVISION = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": _REVISION,
    "io.modelcontextprotocol/clientInfo": {"name": "drill", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def tool_call(tool: str, arguments: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """Headers and body of one tool call."""
    return _request("tools/call", {"name": tool, "arguments": dict(arguments)}, name=tool)


def listen() -> tuple[dict[str, str], bytes]:
    """Headers and body of a stream without an end of its own."""
    return _request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})


def _request(method: str, params: Mapping[str, Any], *, name: str | None = None) -> tuple[dict[str, str], bytes]:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": _META}}
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": _REVISION,
        "mcp-method": method,
        **({"mcp-name": name} if name is not None else {}),
    }
    return headers, json.dumps(message).encode()
