"""The demo's MCP servers: a calendar on the official SDK, rooms and their booking on FastMCP, each behind its guard.

What the guards see goes to the journal too: `records`.
"""

from __future__ import annotations

from typing import Any

import httpx2
from fastmcp import FastMCP
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.types import ToolAnnotations

from perhop.client import TokenSource
from perhop.core.secret import Secret
from perhop.demo.configuration import Addresses
from perhop.resource_server import Guard, ServerRecords
from perhop.resource_server.asgi import AsgiApp, current_subject_token
from perhop.resource_server.fastmcp import fastmcp_auth
from perhop.resource_server.mcp_sdk import sdk_auth

READ_ONLY = ToolAnnotations(read_only_hint=True)


class CalendarServer:
    """The calendar; to find a room it calls on. `received` is the token that a thief in it would have."""

    def __init__(self, addresses: Addresses, tokens: TokenSource, records: ServerRecords) -> None:
        self._rooms = addresses.resource("rooms")
        self._tokens = tokens
        self.received: Secret | None = None
        self.guard = Guard(resource=addresses.calendar_server, issuers=[addresses.issuer], records=records)
        server = MCPServer("calendar", **sdk_auth(self.guard))
        server.tool(annotations=READ_ONLY)(self.list_events)
        server.tool()(self.plan_meeting)
        self.app: AsgiApp = self.guard.asgi(server.streamable_http_app())

    def list_events(self, day: str) -> list[str]:
        """List the events of a day."""
        return [f"{day} 09:00 stand-up"]

    async def plan_meeting(self, title: str, day: str, people: int) -> str:
        """Plan a meeting, in a room that is free."""
        self.received = current_subject_token()
        onward = self._tokens.onward_auth(self.received, self._rooms, ["rooms:read"])
        room = await call_tool(self._rooms, onward, "find_room", {"day": day, "people": people})
        return f"{title} on {day} in {room}"


class RoomsServer:
    """The room list."""

    def __init__(self, addresses: Addresses, records: ServerRecords) -> None:
        self.guard = Guard(resource=addresses.rooms_server, issuers=[addresses.issuer], records=records)
        server: FastMCP[Any] = FastMCP("rooms", auth=fastmcp_auth(self.guard))
        server.tool(self.find_room, annotations=READ_ONLY)
        self.app: AsgiApp = server.http_app(path="/mcp")

    def find_room(self, day: str, people: int) -> str:
        """Find a room that is free."""
        return f"room {'Ada' if people <= 4 else 'Grace'} ({day})"


class BookingServer:
    """The booking desk, which takes a token for each call. `received` is the one that a thief in it would have."""

    def __init__(self, addresses: Addresses, records: ServerRecords) -> None:
        self.received: Secret | None = None
        self.guard = Guard(resource=addresses.booking_server, issuers=[addresses.issuer], records=records)
        server: FastMCP[Any] = FastMCP("booking", auth=fastmcp_auth(self.guard))
        server.tool(self.book_room)
        self.app: AsgiApp = server.http_app(path="/mcp")

    def book_room(self, room: str, day: str) -> str:
        """Book a room."""
        self.received = current_subject_token()
        return f"{room} is booked on {day}"


async def call_tool(url: str, auth: httpx2.Auth, tool: str, arguments: dict[str, Any]) -> str:
    """Call one tool with the official SDK's client, and give the text of its answer."""
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        result = await client.call_tool(tool, arguments)
    if result.is_error:
        raise RuntimeError(f"tool `{tool}` failed: {result.content}")
    return " ".join(block.text for block in result.content if block.type == "text")
