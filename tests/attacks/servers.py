"""The MCP servers of the attacked installation, and what has come to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from mcp.server import MCPServer
from pydantic import Field

from perhop.core.call import Headers
from perhop.resource_server import Guard
from perhop.resource_server.asgi import AsgiApp, AsgiMessage, AsgiScope, Receive, Send, read_headers
from perhop.resource_server.mcp_sdk import sdk_auth
from tests.support.upstreams import RecordingUpstream, Scripted


@dataclass(slots=True)
class Arrived:
    """One request as it came in, its body as far as it was read."""

    method: str
    path: str
    headers: Headers
    body: bytearray = field(default_factory=bytearray)

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each == name), None)

    @property
    def bearer(self) -> str:
        return (self.header("authorization") or "").partition(" ")[2]


class Recorder:
    """An application that writes down every request before it passes it on, once it may be passed on at all."""

    def __init__(self, app: AsgiApp, *, opened: asyncio.Event) -> None:
        self._app = app
        self._opened = opened
        self.arrived: list[Arrived] = []

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] != "http":
            await self._app(asgi_scope, receive, send)
            return
        await self._opened.wait()
        arrived = Arrived(asgi_scope["method"], asgi_scope["path"], read_headers(asgi_scope))
        self.arrived.append(arrived)

        async def noting() -> AsgiMessage:
            message = await receive()
            arrived.body += message.get("body", b"")
            return message

        await self._app(asgi_scope, noting, send)


class GuardedServer:
    """A server of the official SDK behind a guard, at two addresses: one for the gateway, one for whoever goes past it.

    `from_gateway` has what the gateway sent, `served` what came through the guard from either side.
    """

    def __init__(self, guard: Guard, server: MCPServer, *, opened: asyncio.Event) -> None:
        self.guard = guard
        self.served = Recorder(server.streamable_http_app(), opened=opened)
        self.direct: AsgiApp = guard.asgi(self.served)
        self.from_gateway = Recorder(_without_lifespan(self.direct), opened=opened)


def _without_lifespan(app: AsgiApp) -> AsgiApp:
    """The same application at a second address: it is started at its first one only."""

    async def http_only(asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await app(asgi_scope, receive, send)

    return http_only


def calendar_server(guard: Guard) -> MCPServer:
    """Three tools that scopes list, one of them with a mirrored argument, and one tool that none lists.

    Besides a prompt and a resource that no policy permits. The SDK knows its callers, so sessions are theirs.
    """
    server = MCPServer("calendar", **sdk_auth(guard))

    def list_days(month: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Month"})]) -> list[str]:
        return [f"{month} 1"]

    def list_events(day: str) -> list[str]:
        return [f"{day} 09:00 stand-up"]

    def create_event(title: str, day: str) -> str:
        return f"{title} on {day}"

    def drop_calendar() -> str:
        return "dropped"

    def today() -> str:
        return "rain"

    def summary() -> str:
        return "sum it up"

    tools: tuple[Callable[..., object], ...] = (list_events, list_days, create_event, drop_calendar)
    for tool in tools:
        server.tool()(tool)
    server.resource("note://today")(today)
    server.prompt()(summary)
    return server


def rooms_server() -> MCPServer:
    """One tool."""
    server = MCPServer("rooms")

    @server.tool()
    def find_room(day: str) -> str:
        return f"Ada ({day})"

    return server


@contextlib.contextmanager
def answering(upstream: RecordingUpstream, answer: Scripted) -> Iterator[None]:
    """The scripted upstream says this while the block runs; the open one at the same address stays as it is."""
    before = upstream.script
    upstream.script = lambda received: before(received) if received.path == "/open" else answer
    try:
        yield
    finally:
        upstream.script = before
