"""Small real upstreams on loopback: one that records and answers by script, and one on the official SDK."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from mcp.server.mcpserver import Context, MCPServer

from tests.support.asgi_server import serving
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind

REVISION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it reached the upstream; header names are lower case, repeats kept."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each == name), None)

    @property
    def message(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Scripted:
    """What the upstream answers; `chunks` may never end."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    chunks: AsyncIterator[bytes] | tuple[bytes, ...] = ()


def json_answer(result: Any, *, rpc_id: Any = 1, status: int = 200, **headers: str) -> Scripted:
    """A JSON-RPC result."""
    body = json.dumps({"jsonrpc": "2.0", "id": rpc_id, "result": result}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Scripted(status, {"content-type": "application/json", **named}, (body,))


def raw_answer(body: bytes, *, status: int = 200, content_type: str = "application/json", **headers: str) -> Scripted:
    """Any octets."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Scripted(status, {"content-type": content_type, **named}, (body,))


def stream_answer(chunks: AsyncIterator[bytes] | tuple[bytes, ...], **headers: str) -> Scripted:
    """A stream of server-sent events."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Scripted(200, {"content-type": "text/event-stream", **named}, chunks)


def event(message: Any, *, event_id: str | None = None) -> bytes:
    """One server-sent event."""
    prefix = f"id: {event_id}\n" if event_id is not None else ""
    return f"{prefix}data: {json.dumps(message)}\n\n".encode()


class BreakOff(Exception):
    """Raised by a script's chunks: the upstream drops the connection in the middle of its answer."""


Script = Callable[[Received], Awaitable[Scripted] | Scripted]


class RecordingUpstream:
    """Keeps every request it gets. `script` says what to answer; `gone` is set when a peer leaves an open answer."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.gone = asyncio.Event()
        self.script: Script = lambda _: json_answer({"ok": True})

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        self.received.append(Received(request.method, request.raw_path, headers, await request.read()))
        response = web.StreamResponse()
        try:
            scripted = self.script(self.last)
            answer = await scripted if isinstance(scripted, Awaitable) else scripted
            response.set_status(answer.status)
            response.headers.update(answer.headers)
            await response.prepare(request)
            if isinstance(answer.chunks, tuple):
                for chunk in answer.chunks:
                    await response.write(chunk)
            else:
                async for chunk in answer.chunks:
                    await response.write(chunk)
            await response.write_eof()
        except BreakOff:
            assert request.transport is not None
            request.transport.abort()
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise
        return response


@asynccontextmanager
async def recording_upstream() -> AsyncIterator[tuple[str, RecordingUpstream]]:
    """A recording upstream; yields the URL of its endpoint and itself."""
    upstream = RecordingUpstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        try:
            yield "http://{}:{}/mcp".format(*listener.getsockname()), upstream
        finally:
            await runner.cleanup()


def sdk_server() -> MCPServer:
    """A server on the official SDK with tools that answer, stream, ask back and fail."""
    server = MCPServer("small")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    def echo(text: str) -> str:
        return text

    @server.tool()
    def fail() -> str:
        raise ValueError("as asked")

    @server.tool()
    async def count(to: int, ctx: Context[Any, Any]) -> str:
        for step in range(to):
            await ctx.report_progress(step + 1, to)
        return f"counted to {to}"

    @server.resource("note://today")
    def today() -> str:
        return "rain"

    @server.prompt()
    def greet(name: str) -> str:
        return f"greet {name}"

    return server


@asynccontextmanager
async def sdk_upstream() -> AsyncIterator[str]:
    """The SDK's server behind nothing at all; yields the URL of its endpoint."""
    async with serving(lambda _: sdk_server().streamable_http_app(host="127.0.0.1")) as url:
        yield f"{url}/mcp"


REMARK = THE_SCAN.note("a-remark-in-the-arguments-of-a-call-7c1f0e5d", Kind.ARGUMENT)
"""Among the arguments of every call that is written here, so that any of them is known where it must not be."""


def with_remark(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same, with a remark among the arguments, if there are any."""
    if params is None or not isinstance(params.get("arguments"), dict):
        return dict(params or {})
    return {**params, "arguments": {**params["arguments"], "remark": REMARK}}


def modern(method: str, params: Mapping[str, Any] | None = None, *, rpc_id: Any = 1) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request under 2026-07-28."""
    meta = {REVISION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}
    body = {"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": {**with_remark(params), "_meta": meta}}
    headers = {**COMMON_HEADERS, "mcp-protocol-version": "2026-07-28", "mcp-method": method}
    name = (params or {}).get("uri" if method == "resources/read" else "name")
    if name is not None and method in ("tools/call", "prompts/get", "resources/read"):
        headers["mcp-name"] = name
    return headers, json.dumps(body).encode()


def legacy(
    method: str, params: Mapping[str, Any] | None = None, *, rpc_id: Any = 1, revision: str = "2025-11-25"
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request under a handshake revision."""
    body = {"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": with_remark(params)}
    return {**COMMON_HEADERS, "mcp-protocol-version": revision}, json.dumps(body).encode()


COMMON_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
