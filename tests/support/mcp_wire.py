"""MCP requests written by hand, for tests that choose the token of each request."""

from __future__ import annotations

import json
from typing import Any

import httpx2

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
_ACCEPT = "application/json, text/event-stream"


def _headers(token: str, session: str | None, revision: str | None) -> dict[str, str]:
    fields = {"authorization": f"Bearer {token}", "accept": _ACCEPT}
    if session is not None:
        fields["mcp-session-id"] = session
    if revision is not None:
        fields["mcp-protocol-version"] = revision
    return fields


async def initialize(http: httpx2.AsyncClient, url: str, token: str) -> str:
    """Open a session of 2025-11-25; returns its id."""
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = await http.post(url, json=message, headers=_headers(token, None, None))
    answer.raise_for_status()
    return str(answer.headers["mcp-session-id"])


async def initialized(http: httpx2.AsyncClient, url: str, token: str, session: str) -> None:
    """Say that the session is open."""
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    (await http.post(url, json=message, headers=_headers(token, session, LEGACY))).raise_for_status()


async def call_legacy(
    http: httpx2.AsyncClient, url: str, token: str, tool: str, *, session: str, raw: bool = False
) -> Any:
    """Call a tool in a session; the structured result, or with `raw` the HTTP answer."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
    answer = await http.post(url, json=message, headers=_headers(token, session, LEGACY))
    return answer if raw else _structured(answer)


async def call_modern(
    http: httpx2.AsyncClient,
    url: str,
    token: str,
    tool: str,
    *,
    session: str | None = None,
    named: str | None = None,
    raw: bool = False,
) -> Any:
    """Call a tool under 2026-07-28; `named` is what the header says instead. Sessions do not exist there."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": {}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = _headers(token, None, MODERN) | {"mcp-method": "tools/call", "mcp-name": named or tool}
    answer = await http.post(url, json=message, headers=headers)
    return answer if raw else _structured(answer)


def _structured(answer: httpx2.Response) -> Any:
    answer.raise_for_status()
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = next(line[6:] for line in text.splitlines() if line.startswith("data: {"))
    result = json.loads(text)["result"]
    structured = result["structuredContent"]
    return structured.get("result", structured) if isinstance(structured, dict) else structured
