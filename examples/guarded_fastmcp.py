"""The rooms: an MCP server on FastMCP, guarded. `python guarded_fastmcp.py` serves it on 127.0.0.1:9002."""

from __future__ import annotations

from fastmcp import FastMCP

from perhop.resource_server import Guard
from perhop.resource_server.fastmcp import fastmcp_auth

guard = Guard(resource="http://127.0.0.1:9002/mcp", issuers=["http://127.0.0.1:8420"])
mcp = FastMCP("rooms", auth=fastmcp_auth(guard))


@mcp.tool
def find_room(day: str, people: int) -> str:
    """Find a room that is free."""
    return f"room {'Ada' if people <= 4 else 'Grace'}"


@mcp.tool
def book_room(room: str, day: str) -> str:
    """Book a room."""
    return f"{room} is booked on {day}"


if __name__ == "__main__":
    mcp.run(transport="http", host="127.0.0.1", port=9002, show_banner=False)
