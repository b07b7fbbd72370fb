"""The calendar: an MCP server on the official SDK, guarded, which calls on to the rooms.

`python guarded_sdk.py` serves it on 127.0.0.1:9001.
"""

from __future__ import annotations

from pathlib import Path

import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer

from perhop.client import TokenSource
from perhop.resource_server import Guard, current_subject_token
from perhop.resource_server.mcp_sdk import sdk_auth

ISSUER = "http://127.0.0.1:8420"
ROOMS = "http://127.0.0.1:8420/mcp/rooms"

guard = Guard(resource="http://127.0.0.1:9001/mcp", issuers=[ISSUER])
server = MCPServer("calendar", **sdk_auth(guard))
secret = Path("keys/calendar-server.secret").read_text().strip()
tokens = TokenSource(issuer=ISSUER, client_id="calendar-server", client_secret=secret)


@server.tool()
def list_events(day: str) -> list[str]:
    """List the events of a day."""
    return [f"{day} 09:00 stand-up"]


@server.tool()
async def plan_meeting(title: str, day: str, people: int) -> str:
    """Plan a meeting, in a room that is free."""
    # The token that came in is good for this server only. It is exchanged, never passed on.
    onward = tokens.onward_auth(current_subject_token(), ROOMS, ["rooms:read"])
    async with (
        httpx2.AsyncClient(auth=onward) as http,
        Client(streamable_http_client(ROOMS, http_client=http)) as rooms,
    ):
        found = await rooms.call_tool("find_room", {"day": day, "people": people})
    return f"{title} on {day}, {found.content[0].text}"


if __name__ == "__main__":
    uvicorn.run(guard.asgi(server.streamable_http_app()), host="127.0.0.1", port=9001, log_level="warning")
