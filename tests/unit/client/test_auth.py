"""A token goes to its audience and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from perhop.client import AccessToken, TokenAuth
from perhop.core.secret import Secret
from perhop.errors import WrongDestination
from perhop.resource_server.testing.loopback_http import Reply, Request, serve
from perhop.rules.resource_uri import parse_resource_uri

RESOURCE = parse_resource_uri("https://mcp.example.com/mcp")


def _token(text: str) -> AccessToken:
    return AccessToken(raw=Secret(text), resource=RESOURCE, scopes=frozenset(), obtained_at=0, expires_at=300)


def _auth(resource: str = RESOURCE, *, tokens: tuple[str, ...] = ("t1",)) -> tuple[TokenAuth, list[str | None]]:
    """An auth that gives these tokens one after the other, and the list of tokens that it was told are refused."""
    left, refused = list(tokens), []  # type: list[str], list[str | None]

    async def get(token: AccessToken | None) -> AccessToken:
        refused.append(token.raw.reveal() if token else None)
        return _token(left.pop(0))

    return TokenAuth(parse_resource_uri(resource), get), refused


def _client(auth: TokenAuth, handle: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(auth=auth, transport=httpx2.MockTransport(handle))


async def test_the_token_goes_to_its_resource() -> None:
    """A request to the resource carries the token, a query changes nothing."""
    seen: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return httpx2.Response(200)

    auth, _ = _auth(tokens=("t1", "t2", "t3"))
    async with _client(auth, handle) as http:
        await http.post(RESOURCE, json={})
        await http.get(RESOURCE + "?cursor=1")
        await http.get("HTTPS://MCP.example.com:443/mcp")
    assert seen == ["Bearer t1", "Bearer t2", "Bearer t3"]


@pytest.mark.parametrize(
    "url",
    [
        "https://mcp.example.com/",
        "https://mcp.example.com/mcp/",
        "https://mcp.example.com/mcp/tools",
        "https://mcp.example.com/mcp-admin",
        "https://mcp.example.com/MCP",
        "https://mcp.example.com/%6dcp",
        "https://mcp.example.com//mcp",
        "https://mcp.example.com/mcp;x",
        "http://mcp.example.com/mcp",
        "https://mcp.example.com:8443/mcp",
        "https://mcp.example.com.evil.example/mcp",
        "https://evil.example/mcp",
        "https://mcp.example.com@evil.example/mcp",
        "https://sub.mcp.example.com/mcp",
    ],
)
async def test_the_token_goes_nowhere_else(url: str) -> None:
    """Any other scheme, host, port or path raises before a token is even fetched, and nothing is sent."""
    sent: list[httpx2.Request] = []
    auth, asked = _auth()
    async with _client(auth, lambda request: sent.append(request) or httpx2.Response(200)) as http:
        with pytest.raises(WrongDestination):
            await http.post(url, json={})
    assert (sent, asked) == ([], [])


async def test_a_query_of_the_resource_must_be_there() -> None:
    """Where the resource has a query, only that query is the resource."""
    auth, _ = _auth("https://mcp.example.com/mcp?tenant=a", tokens=("t1",))
    async with _client(auth, lambda _: httpx2.Response(200)) as http:
        assert (await http.get("https://mcp.example.com/mcp?tenant=a")).status_code == 200
        with pytest.raises(WrongDestination):
            await http.get("https://mcp.example.com/mcp?tenant=b")


async def test_a_token_called_invalid_is_replaced_once() -> None:
    """After `invalid_token` the same request goes out once more, with the next token and the same body."""
    seen: list[tuple[str, bytes]] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.headers["authorization"], request.content))
        return httpx2.Response(401, headers={"www-authenticate": 'Bearer error="invalid_token", scope="a"'})

    auth, refused = _auth(tokens=("t1", "t2", "t3"))
    async with _client(auth, handle) as http:
        assert (await http.post(RESOURCE, content=b"x")).status_code == 401
    assert seen == [("Bearer t1", b"x"), ("Bearer t2", b"x")]
    assert refused == [None, "t1"]


@pytest.mark.parametrize(
    ("status", "challenge"),
    [
        (401, "Bearer"),
        (401, 'Bearer error="invalid_request"'),
        (401, 'Bearer xerror="invalid_token"'),
        (403, 'Bearer error="invalid_token"'),
        (403, 'Bearer error="insufficient_scope", scope="invalid_token"'),
    ],
)
async def test_no_other_refusal_is_tried_again(status: int, challenge: str) -> None:
    """Only 401 with `invalid_token` says that a new token could help."""
    auth, refused = _auth(tokens=("t1", "t2"))
    async with _client(auth, lambda _: httpx2.Response(status, headers={"www-authenticate": challenge})) as http:
        assert (await http.get(RESOURCE)).status_code == status
    assert refused == [None]


@pytest.mark.parametrize("location", ["/neighbour", "/mcp/", "/mcp?x=1"])
async def test_a_redirect_on_the_same_host_does_not_carry_the_token(location: str) -> None:
    """A client that follows redirects fails rather than show the token to a neighbour on the same origin."""
    seen: list[tuple[str, str | None]] = []

    async def answer(request: Request) -> Reply:
        seen.append((request.path, request.headers.get("authorization")))
        if request.path == "/mcp" and not request.query:
            return Reply(307, (("location", location),), b"")
        return Reply(200, (), b"")

    async with serve(answer) as url:
        auth, _ = _auth(f"{url}/mcp")
        async with httpx2.AsyncClient(auth=auth, follow_redirects=True) as http:
            with pytest.raises(WrongDestination):
                await http.post(f"{url}/mcp", json={})
    assert seen == [("/mcp", "Bearer t1")]


async def test_a_redirect_to_another_origin_does_not_carry_the_token() -> None:
    """What another origin gets has no Authorization header."""
    stolen: list[str | None] = []

    async def elsewhere(request: Request) -> Reply:
        stolen.append(request.headers.get("authorization"))
        return Reply(200, (), b"")

    async with serve(elsewhere) as other:

        async def answer(request: Request) -> Reply:
            return Reply(307, (("location", f"{other}/mcp"),), b"")

        async with serve(answer) as url:
            auth, _ = _auth(f"{url}/mcp")
            async with httpx2.AsyncClient(auth=auth, follow_redirects=True) as http:
                await http.get(f"{url}/mcp")
    assert stolen == [None]


async def test_a_caller_may_watch_the_wire_too() -> None:
    """A `trace` extension of the caller's still gets every event."""
    events: list[str] = []

    async def trace(event: str, _details: object) -> None:
        events.append(event)

    async def answer(_request: Request) -> Reply:
        return Reply(200, (), b"")

    async with serve(answer) as url:
        auth, _ = _auth(f"{url}/mcp")
        async with httpx2.AsyncClient(auth=auth) as http:
            response = await http.get(f"{url}/mcp", extensions={"trace": trace})
    assert response.status_code == 200
    assert "http11.send_request_headers.started" in events


def test_a_client_that_cannot_wait_is_told_so() -> None:
    """The synchronous client gets an error instead of a request without token."""
    auth, _ = _auth()
    with httpx2.Client(auth=auth) as http, pytest.raises(TypeError, match="AsyncClient"):
        http.get(RESOURCE)
