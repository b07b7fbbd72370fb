"""A server of the official SDK behind the guard, over real sockets: the SDK's own client, and wrong tokens."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.routing import Mount

from perhop.client import TokenSource
from perhop.resource_server import Guard, current_token
from perhop.resource_server.mcp_sdk import sdk_auth
from perhop.resource_server.testing import ThrowawayIssuer, assert_audience_enforced, throwaway_issuer
from tests.support.asgi_server import serving
from tests.support.dpop import DpopAuth, ProofKey
from tests.support.mcp_wire import call_legacy, call_modern, initialize, initialized


@dataclass
class Site:
    """A guarded server that runs, and the issuer that it trusts."""

    issuer: ThrowawayIssuer
    resource: str

    def tokens(self) -> TokenSource:
        return TokenSource(issuer=self.issuer.url, client_id="trip-planner", client_secret="x" * 32)


def _server(guard: Guard) -> MCPServer:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the SDK warns of an audience check that is off
        server = MCPServer("rooms", **sdk_auth(guard))

    @server.tool()
    async def who() -> dict[str, Any]:
        """Who calls."""
        theirs = get_access_token()
        assert theirs is not None
        return {
            "jti": current_token().jti,
            "agent": current_token().agent,
            "their_jti": (theirs.claims or {})["jti"],
            "their_resource": theirs.resource,
        }

    return server


@asynccontextmanager
async def _site(*, is_wrapped: bool = True) -> AsyncIterator[Site]:
    def make(url: str) -> Any:
        guard = Guard(resource=f"{url}/mcp", issuers=[issuer.url])
        app = _server(guard).streamable_http_app()
        return guard.asgi(app) if is_wrapped else app

    async with throwaway_issuer() as issuer, serving(make) as url:
        yield Site(issuer, f"{url}/mcp")


async def test_the_sdk_client_calls_a_guarded_tool() -> None:
    """One token serves a whole session, and the tool sees it by our accessor and by the SDK's."""
    async with _site() as site, site.tokens() as tokens:
        auth = tokens.auth_for(site.resource, ["rooms:read"])
        async with (
            httpx2.AsyncClient(auth=auth) as http,
            streamable_http_client(site.resource, http_client=http) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            result = await session.call_tool("who", {})
        seen = result.structured_content
        assert seen is not None
        assert seen["jti"] == seen["their_jti"]
        assert (seen["agent"], seen["their_resource"]) == ("trip-planner", site.resource)
        assert site.issuer.requests["/token"] == 1


async def test_the_sdk_client_calls_with_a_token_that_is_bound_to_its_key() -> None:
    """The SDK knows bearer tokens only: behind `guard.asgi` a session and its tool run on a proof for each request."""
    key = ProofKey()
    async with _site() as site:
        auth = DpopAuth(key, site.issuer.mint(site.resource, sender_key=key.thumbprint))
        async with (
            httpx2.AsyncClient(auth=auth) as http,
            streamable_http_client(site.resource, http_client=http) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            seen = (await session.call_tool("who", {})).structured_content
        assert seen is not None
        assert seen["jti"] == seen["their_jti"]


@pytest.mark.parametrize("is_wrapped", [True, False])
async def test_the_sdk_server_takes_no_bound_token_without_a_proof(is_wrapped: bool) -> None:
    """As a bearer token it is refused, wrapped or not; not wrapped, a proof does not help, since nobody looks at it."""
    key = ProofKey()
    async with _site(is_wrapped=is_wrapped) as site, httpx2.AsyncClient() as http:
        token = site.issuer.mint(site.resource, sender_key=key.thumbprint)
        assert (await call_modern(http, site.resource, token, "who", raw=True)).status_code == 401
        if not is_wrapped:
            http.auth = DpopAuth(key, token)
            assert (await call_modern(http, site.resource, token, "who", raw=True)).status_code == 401


async def test_the_sdk_server_takes_no_other_audience() -> None:
    """A right token is served, and each of more than twenty wrong ones gets 401 from the guard."""
    async with _site() as site:
        attempts = await assert_audience_enforced(site.resource, issuer=site.issuer, resource=site.resource)
        missing = next(each for each in attempts if each.title == "no token")
        assert "error=" not in missing.challenge


async def test_the_audience_is_enforced_without_the_wrapping_too() -> None:
    """An author who forgets `guard.asgi` still serves no token for another audience."""
    async with _site(is_wrapped=False) as site, httpx2.AsyncClient() as http:
        assert await initialize(http, site.resource, site.issuer.mint(site.resource))
        for audience in ("https://other.example.com/mcp", site.resource + "/", site.resource.upper(), ""):
            with pytest.raises(httpx2.HTTPStatusError, match="401"):
                await initialize(http, site.resource, site.issuer.mint(audience))


@pytest.mark.parametrize("call", [call_modern, call_legacy])
async def test_the_tool_sees_the_token_of_its_own_request(call: Any) -> None:
    """In a session too, a later request with a later token is served for that one, not for the first."""
    async with _site() as site, httpx2.AsyncClient() as http:
        first, second = site.issuer.mint(site.resource), site.issuer.mint(site.resource)
        session = await initialize(http, site.resource, first)
        await initialized(http, site.resource, first, session)
        seen = [await call(http, site.resource, token, "who", session=session) for token in (first, second, first)]
        assert seen[0]["jti"] == seen[2]["jti"] != seen[1]["jti"]
        assert all(each["jti"] == each["their_jti"] for each in seen)


async def test_another_principal_does_not_get_the_session() -> None:
    """A session opened by one client is not known to another one with a token of its own."""
    async with _site() as site, httpx2.AsyncClient() as http:
        session = await initialize(http, site.resource, site.issuer.mint(site.resource))
        stranger = site.issuer.mint(site.resource, client_id="stranger")
        answer = await call_legacy(http, site.resource, stranger, "who", session=session, raw=True)
        assert answer.status_code == 404


async def test_a_token_in_its_leeway_is_served() -> None:
    """The SDK's own look at the expiry does not take back the guard's leeway."""
    async with _site() as site, httpx2.AsyncClient() as http:
        claims = site.issuer.claims(site.resource)
        late = site.issuer.sign(claims | {"iat": claims["iat"] - 310, "exp": claims["iat"] - 10})
        assert (await call_modern(http, site.resource, late, "who"))["jti"] == claims["jti"]


TWICE = b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"who","arguments":{}}}'


@pytest.mark.parametrize("is_mounted", [False, True])
async def test_no_spelling_of_the_path_serves_a_message_unchecked(is_mounted: bool) -> None:
    """What the SDK's router takes for its endpoint beside the path itself: refused, or read like the path itself."""

    def make(url: str) -> Any:
        guard = Guard(resource=f"{url}/mcp", issuers=[issuer.url])
        server = _server(guard)
        if not is_mounted:
            return guard.asgi(server.streamable_http_app(stateless_http=True))
        inner = server.streamable_http_app(streamable_http_path="/", stateless_http=True)
        return guard.asgi(Starlette(routes=[Mount("/mcp", inner)], lifespan=inner.router.lifespan_context))

    async with throwaway_issuer() as issuer, serving(make) as url, httpx2.AsyncClient() as http:
        headers = {
            "authorization": f"Bearer {issuer.mint(f'{url}/mcp')}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        for path in ("/mcp", "/mcp%0A", "/mcp/", "/mcp/%0A", "/%6Dcp"):
            answer = await http.post(url + path, content=TWICE, headers=headers)
            assert answer.status_code == 400, path
            assert answer.json()["error"]["data"]["reason"] == "request.malformed", path
        good = TWICE.replace(b'"method":"ping",', b"")
        answer = await http.post(f"{url}/mcp", content=good, headers=headers, follow_redirects=True)
        assert answer.status_code == 200
        assert b"their_jti" in answer.content


async def test_a_header_that_lies_does_not_reach_the_tool() -> None:
    """A modern call whose headers name another tool gets 400 and -32020."""
    async with _site() as site, httpx2.AsyncClient() as http:
        token = site.issuer.mint(site.resource)
        answer = await call_modern(http, site.resource, token, "who", named="list", raw=True)
        assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (400, "header.mismatch")
