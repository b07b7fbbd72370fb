"""A server that calls on: its caller's token stays with it, and the next server gets an exchanged one."""

from __future__ import annotations

from typing import Any

import httpx2
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StreamableHttpTransport

from perhop.client import TokenSource
from perhop.resource_server import Guard, current_subject_token, current_token
from perhop.resource_server.fastmcp import fastmcp_auth
from perhop.resource_server.testing import throwaway_issuer
from perhop.tokens.keys import SigningKey
from tests.support.asgi_server import serving
from tests.support.mcp_wire import call_modern


def _rooms(guard: Guard) -> Any:
    rooms = FastMCP("rooms", auth=fastmcp_auth(guard))

    @rooms.tool
    def free_room() -> dict[str, Any]:
        token = current_token()
        return {"subject": token.subject, "agent": token.agent, "actors": list(token.actors), "for": token.resource}

    return rooms.http_app()


def _calendar(guard: Guard, tokens: TokenSource, rooms_url: str) -> Any:
    calendar = FastMCP("calendar", auth=fastmcp_auth(guard))

    @calendar.tool
    async def book() -> dict[str, Any]:
        onward = tokens.onward_auth(current_subject_token(), rooms_url, ["rooms:read"])
        async with Client(StreamableHttpTransport(rooms_url, auth=onward)) as rooms:
            seen: dict[str, Any] = (await rooms.call_tool("free_room")).data
        return {"room": seen, "for": current_token().resource}

    return calendar.http_app()


async def test_one_call_has_two_tokens_for_two_servers() -> None:
    """The second server sees the first caller, the server that calls for it, and a token of its own audience."""
    async with throwaway_issuer() as issuer:
        tokens = TokenSource(issuer=issuer.url, client_id="calendar-server", private_key=SigningKey.generate())
        rooms = serving(lambda url: _rooms(Guard(resource=f"{url}/mcp", issuers=[issuer.url])))
        async with tokens, rooms as rooms_url:
            calendar = serving(
                lambda url: _calendar(Guard(resource=f"{url}/mcp", issuers=[issuer.url]), tokens, f"{rooms_url}/mcp")
            )
            async with calendar as calendar_url, httpx2.AsyncClient() as http:
                resource = f"{calendar_url}/mcp"
                inbound = issuer.mint(resource, subject="user:ann", client_id="trip-planner")
                seen = await call_modern(http, resource, inbound, "book")
                assert seen["for"] == resource
                assert seen["room"] == {
                    "subject": "user:ann",
                    "agent": "trip-planner",
                    "actors": ["calendar-server"],
                    "for": f"{rooms_url}/mcp",
                }
                passed_on = await call_modern(http, f"{rooms_url}/mcp", inbound, "free_room", raw=True)
                assert passed_on.status_code == 401
