"""The agent: it gets a token for the calendar, and calls it with the official SDK's client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from perhop.client import TokenSource

CALENDAR = "http://127.0.0.1:8420/mcp/calendar"


async def main() -> None:
    secret = Path("keys/trip-planner.secret").read_text().strip()
    async with (
        TokenSource(issuer="http://127.0.0.1:8420", client_id="trip-planner", client_secret=secret) as tokens,
        httpx2.AsyncClient(auth=tokens.auth_for(CALENDAR)) as http,
        Client(streamable_http_client(CALENDAR, http_client=http)) as calendar,
    ):
        planned = await calendar.call_tool("plan_meeting", {"title": "Review", "day": "monday", "people": 3})
        print(planned.content[0].text)


if __name__ == "__main__":
    asyncio.run(main())
