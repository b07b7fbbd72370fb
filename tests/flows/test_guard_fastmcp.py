"""A FastMCP server behind the guard, over real sockets: FastMCP's own client, and tokens that are not for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import httpx2
import pytest
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.server.dependencies import get_access_token
from pydantic import Field
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from perhop.client import TokenSource
from perhop.errors import WrongDestination
from perhop.resource_server import Guard, current_subject_token, current_token
from perhop.resource_server.fastmcp import fastmcp_auth
from perhop.resource_server.testing import ThrowawayIssuer, assert_audience_enforced, throwaway_issuer
from perhop.rules.revocation import RevocationKind
from tests.support.asgi_server import serving
from tests.support.dpop import DpopAuth, ProofKey
from tests.support.mcp_wire import call_legacy, call_modern, initialize, initialized
from tests.support.upstreams import modern


@dataclass
class Site:
    """A guarded server that runs, and the issuer that it trusts."""

    issuer: ThrowawayIssuer
    resource: str

    def tokens(self) -> TokenSource:
        return TokenSource(issuer=self.issuer.url, client_id="trip-planner", client_secret="x" * 32)


def _server(guard: Guard) -> Any:
    mcp = FastMCP("calendar", auth=fastmcp_auth(guard))

    @mcp.tool
    def who() -> dict[str, Any]:
        """A plain function, which FastMCP runs in a thread."""
        theirs = get_access_token()
        assert theirs is not None
        return {
            "jti": current_token().jti,
            "agent": current_token().agent,
            "is_presented": current_subject_token().reveal() == theirs.token,
            "their_jti": theirs.claims["jti"],
            "their_scopes": theirs.scopes,
            "their_resource": theirs.resource,
        }

    @mcp.tool
    def route(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        """A tool that wants its argument mirrored."""
        return region

    @mcp.custom_route("/health", methods=["GET"])
    async def health(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("well")

    return mcp.http_app()


@asynccontextmanager
async def _site(**changes: Any) -> AsyncIterator[Site]:
    async with throwaway_issuer() as issuer:
        guarded = serving(lambda url: _server(Guard(**{"resource": f"{url}/mcp", "issuers": [issuer.url], **changes})))
        async with guarded as url:
            yield Site(issuer, f"{url}/mcp")


async def test_the_fastmcp_client_calls_a_guarded_tool() -> None:
    """One token serves a whole session, and the tool sees it by our accessor and by FastMCP's."""
    async with _site() as site, site.tokens() as tokens:
        auth = tokens.auth_for(site.resource, ["calendar:read"])
        async with Client(StreamableHttpTransport(site.resource, auth=auth)) as client:
            assert [tool.name for tool in await client.list_tools()] == ["who", "route"]
            seen = (await client.call_tool("who")).data
        assert seen["jti"] == seen["their_jti"]
        assert seen["is_presented"]
        assert (seen["agent"], seen["their_scopes"]) == ("trip-planner", ["calendar:read"])
        assert seen["their_resource"] == site.resource
        assert site.issuer.requests["/token"] == 1


async def test_the_fastmcp_client_calls_with_a_token_that_is_bound_to_its_key() -> None:
    """A session and its tools run on proofs, one for each request, and FastMCP's own accessor has the token, too."""
    key = ProofKey()
    async with _site(sender="dpop") as site:
        auth = DpopAuth(key, site.issuer.mint(site.resource, sender_key=key.thumbprint))
        async with Client(StreamableHttpTransport(site.resource, auth=auth)) as client:
            seen = (await client.call_tool("who")).data
        assert seen["jti"] == seen["their_jti"]
        assert seen["is_presented"]
        async with httpx2.AsyncClient() as http:
            bound = site.issuer.mint(site.resource, sender_key=key.thumbprint)
            for token in (bound, site.issuer.mint(site.resource)):
                assert (await call_modern(http, site.resource, token, "who", raw=True)).status_code == 401


async def test_the_fastmcp_server_takes_no_other_audience() -> None:
    """A right token is served, and each of more than twenty wrong ones gets 401."""
    async with _site() as site:
        await assert_audience_enforced(site.resource, issuer=site.issuer, resource=site.resource)


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
    """A session opened by one client is not known to another one, or for another person, with a token of its own."""
    async with _site() as site, httpx2.AsyncClient() as http:
        session = await initialize(http, site.resource, site.issuer.mint(site.resource))
        for claims in ({"client_id": "stranger"}, {"subject": "user:bob"}):
            stranger = site.issuer.mint(site.resource, **claims)
            answer = await call_legacy(http, site.resource, stranger, "who", session=session, raw=True)
            assert answer.status_code == 404


async def test_a_header_that_lies_does_not_reach_the_tool() -> None:
    """A modern call whose headers name another tool gets 400 and -32020 from the guard."""
    async with _site() as site, httpx2.AsyncClient() as http:
        token = site.issuer.mint(site.resource)
        answer = await call_modern(http, site.resource, token, "who", named="list", raw=True)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize(("mirrored", "status"), [("eu", 200), ("us", 400), (None, 400)])
async def test_the_framework_compares_parameter_headers(mirrored: str | None, status: int) -> None:
    """Behind the guard, which knows no schemas, a header that names another argument does not reach the tool either."""
    async with _site() as site, httpx2.AsyncClient() as http:
        headers, body = modern("tools/call", {"name": "route", "arguments": {"region": "eu"}})
        headers["authorization"] = f"Bearer {site.issuer.mint(site.resource)}"
        if mirrored is not None:
            headers["mcp-param-region"] = mirrored
        answer = await http.post(site.resource, headers=headers, content=body)
        assert answer.status_code == status
        if status == 400:
            assert answer.json()["error"]["code"] == -32020


async def test_metadata_and_custom_routes_stay_open() -> None:
    """The resource's own metadata is served at the path form, and routes of the author's own need no token."""
    async with _site(scopes=["calendar:read"]) as site, httpx2.AsyncClient() as http:
        origin = site.resource.removesuffix("/mcp")
        document = (await http.get(f"{origin}/.well-known/oauth-protected-resource/mcp")).json()
        assert document["resource"] == site.resource
        assert document["authorization_servers"] == [site.issuer.url]
        assert (await http.get(f"{origin}/health")).text == "well"
        challenge = (await http.post(site.resource)).headers["www-authenticate"]
        assert f'resource_metadata="{origin}/.well-known/oauth-protected-resource/mcp"' in challenge


@pytest.mark.parametrize("path", ["/mcp/", "/%6dcp", "/mcp%0A", "//mcp", "/x/../mcp"])
async def test_no_other_spelling_of_the_path_gets_by(path: str) -> None:
    """However the path is spelled, a token for another resource is never served."""
    async with _site() as site, httpx2.AsyncClient() as http:
        url = site.resource.removesuffix("/mcp") + path
        for token in (site.issuer.mint("https://other.example.com/mcp"), "x"):
            answer = await http.post(url, json={}, headers={"authorization": f"Bearer {token}"})
            assert answer.status_code in {401, 404, 307}


async def test_a_token_is_not_sent_to_another_server() -> None:
    """FastMCP's client with an auth for one resource fails at another before a token leaves."""
    async with _site() as site, site.tokens() as tokens:
        auth = tokens.auth_for("https://calendar.example.com/mcp")
        with pytest.raises((WrongDestination, RuntimeError)) as refused:
            async with Client(StreamableHttpTransport(site.resource, auth=auth)):
                pass
        assert "is not sent to" in str(refused.value) + str(refused.value.__cause__)
        assert site.issuer.requests["/token"] == 0


async def test_a_revoked_token_is_refused_while_the_session_lives() -> None:
    """The client's next call gets one more token, which is refused too once the agent is revoked."""
    async with _site() as site, httpx2.AsyncClient() as http:
        token = site.issuer.mint(site.resource)
        session = await initialize(http, site.resource, token)
        await site.issuer.asked("/revocations", times=2)
        asked = site.issuer.requests["/revocations"]
        site.issuer.revoke(RevocationKind.AGENT, "throwaway-client")
        await site.issuer.asked("/revocations", times=asked + 1)
        answer = await call_legacy(http, site.resource, token, "who", session=session, raw=True)
        assert answer.status_code == 401


async def test_metadata_is_found_at_an_escaped_path() -> None:
    """The route is the path as a server decodes it."""
    resource = "https://mcp.example.com/my%20rooms"
    provider = fastmcp_auth(Guard(resource=resource, issuers=["https://auth.example.com"]))
    app = Starlette(routes=provider.get_routes("/my rooms"))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://mcp.example.com") as http:
        answer = await http.get("/.well-known/oauth-protected-resource/my%20rooms")
    assert answer.json()["resource"] == resource
