"""The guard in front of an ASGI application, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from perhop.resource_server import Guard, current_subject_token, current_token
from perhop.resource_server.asgi import TOKEN_KEY
from perhop.resource_server.request_body import BODY_SECONDS, read_body
from perhop.rules.mcp_message import MAX_BODY_BYTES
from tests.support.offline_issuer import Clock, OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"
METADATA = "/.well-known/oauth-protected-resource/mcp"
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


class Application:
    """Says what it saw; its behaviour is one function."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.types: list[str] = []

    async def __call__(self, asgi_scope: Any, receive: Any, send: Any) -> None:
        self.types.append(asgi_scope["type"])
        if asgi_scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        message = await receive()
        self.seen.append(
            {
                "body": message["body"],
                "more": message["more_body"],
                "scope_token": asgi_scope[TOKEN_KEY],
                "token": current_token(),
                "presented": current_subject_token().reveal(),
            }
        )
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Site:
    """A guarded application and a client that speaks to it."""

    def __init__(self, **changes: Any) -> None:
        clock = Clock()
        self.issuer = OfflineIssuer(clock=clock)
        arguments = {"resource": RESOURCE, "issuers": [self.issuer.url], **changes}
        self.guard = Guard(http=self.issuer.http(), clock=clock, **arguments)
        self.inner = Application()
        self.app = self.guard.asgi(self.inner)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="https://mcp.example.com")

    async def __aenter__(self) -> Site:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()
        await self.guard.aclose()

    def bearer(self, audience: str = RESOURCE) -> dict[str, str]:
        return {"authorization": f"Bearer {self.issuer.mint(audience)}", "content-type": "application/json"}


async def test_an_admitted_request_finds_its_token_and_its_body() -> None:
    """The application gets the body unchanged, the token in the scope, and both tokens by the accessors."""
    async with Site() as site:
        headers = site.bearer()
        assert (await site.http.post("/mcp", content=PING, headers=headers)).status_code == 204
        (seen,) = site.inner.seen
        assert (seen["body"], seen["more"]) == (PING, False)
        assert seen["token"] is seen["scope_token"]
        assert seen["token"].resource == RESOURCE
        assert seen["presented"] == headers["authorization"].removeprefix("Bearer ")


def test_outside_of_a_request_there_is_no_token() -> None:
    """The accessors raise rather than give a token of some other request."""
    for accessor in (current_token, current_subject_token):
        with pytest.raises(LookupError):
            accessor()


async def test_requests_at_the_same_time_have_their_own_tokens() -> None:
    """Fifty requests under way at once each see the token that came with them."""
    async with Site() as site:
        headers = [site.bearer() for _ in range(50)]
        await asyncio.gather(*(site.http.post("/mcp", content=PING, headers=each) for each in headers))
        assert {seen["presented"] for seen in site.inner.seen} == {h["authorization"][7:] for h in headers}
    with pytest.raises(LookupError):
        current_token()


@pytest.mark.parametrize(
    "path",
    ["/mcp", "/", "/health", "/mcp/", "/.well-known/oauth-protected-resource", "/.well-known/openid-configuration"],
)
async def test_every_other_path_needs_a_token(path: str) -> None:
    """Nothing of the application is reached without a token that is addressed to the resource."""
    async with Site() as site:
        for headers in ({}, site.bearer("https://other.example.com/mcp")):
            answer = await site.http.get(path, headers=headers)
            assert (answer.status_code, answer.content) == (401, b"")
            assert answer.headers["www-authenticate"].startswith("Bearer ")
            assert answer.headers["cache-control"] == "no-store"
        assert site.inner.seen == []


async def test_a_token_in_the_query_is_not_seen() -> None:
    """A good token in the URL opens nothing."""
    async with Site() as site:
        answer = await site.http.get("/mcp", params={"access_token": site.issuer.mint(RESOURCE)})
        assert answer.status_code == 401
        assert "error=" not in answer.headers["www-authenticate"]


async def test_a_stranger_is_answered_before_the_body_is_read() -> None:
    """Without a good token no byte of the body is asked for."""
    async with Site() as site:
        sent = await _ask(site, [(b"authorization", b"Bearer x")], lambda: pytest.fail("the body was asked for"))
        assert sent[0]["status"] == 401


async def test_a_body_beyond_the_cap_is_refused() -> None:
    """1 MiB passes, one byte more does not, whether its length is declared or not."""
    async with Site() as site:
        filler = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":""}}'
        body = filler[:-3] + b"a" * (MAX_BODY_BYTES - len(filler)) + filler[-3:]
        assert len(body) == MAX_BODY_BYTES == 1024 * 1024
        assert (await site.http.post("/mcp", content=body, headers=site.bearer())).status_code == 204
        assert (await site.http.post("/mcp", content=body + b" ", headers=site.bearer())).status_code == 413

        async def chunks() -> Any:
            yield body
            yield b" "

        assert (await site.http.post("/mcp", content=chunks(), headers=site.bearer())).status_code == 413
        assert len(site.inner.seen) == 1


async def test_an_absurd_length_is_refused_unread() -> None:
    """A declared length of thousands of digits is too large, and no error of ours."""
    async with Site() as site:
        headers = [(b"authorization", site.bearer()["authorization"].encode()), (b"content-length", b"9" * 5000)]
        sent = await _ask(site, headers, lambda: pytest.fail("the body was asked for"))
        assert sent[0]["status"] == 413


async def test_a_peer_that_goes_away_is_not_answered() -> None:
    """When the connection ends within the body, neither the application nor the peer hears anything."""
    async with Site() as site:
        headers = [(b"authorization", site.bearer()["authorization"].encode())]
        assert await _ask(site, headers, lambda: {"type": "http.disconnect"}) == []
        assert site.inner.seen == []


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a body has an end."""
    assert BODY_SECONDS == 30
    monkeypatch.setattr("perhop.resource_server.request_body.BODY_SECONDS", 0.01)

    async def never() -> Any:
        await asyncio.Event().wait()

    from perhop.errors import BodyTooSlow

    with pytest.raises(BodyTooSlow):
        await read_body("", never)


async def test_a_wrong_message_does_not_reach_the_application() -> None:
    """The body is checked before the application runs."""
    async with Site() as site:
        answer = await site.http.post("/mcp", content=b"[]", headers=site.bearer())
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
        answer = await site.http.post("/mcp", content=PING, headers=site.bearer() | {"content-type": "text/plain"})
        assert answer.status_code == 415
        assert site.inner.seen == []


async def test_after_the_body_the_peer_is_still_heard() -> None:
    """The application learns of a disconnect that follows the body."""
    async with Site() as site:
        heard: list[str] = []

        async def inner(_scope: Any, receive: Any, _send: Any) -> None:
            heard.extend([(await receive())["type"], (await receive())["type"]])

        site.app = site.guard.asgi(inner)
        left = [{"type": "http.disconnect"}, {"type": "http.request", "body": PING}]
        headers = [(b"authorization", site.bearer()["authorization"].encode()), (b"content-type", b"application/json")]
        await _ask(site, headers, left.pop)
        assert heard == ["http.request", "http.disconnect"]


async def test_metadata_needs_no_token() -> None:
    """The resource's own metadata is public, cacheable, and readable for web pages."""
    async with Site(scopes=["calendar:read"]) as site:
        answer = await site.http.get(METADATA)
        assert answer.status_code == 200
        assert answer.json() == {
            "resource": RESOURCE,
            "authorization_servers": ["https://auth.example.com"],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["ES256", "Ed25519", "RS256", "PS256"],
            "scopes_supported": ["calendar:read"],
        }
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"
        head = await site.http.head(METADATA)
        assert (head.status_code, head.content) == (200, b"")
        assert (await site.http.post(METADATA, content=b"x")).status_code == 405
        assert site.inner.seen == []


async def test_a_websocket_is_refused() -> None:
    """MCP has no WebSocket transport: the handshake is closed and the application not asked."""
    async with Site() as site:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        asgi_scope = {"type": "websocket", "path": "/mcp", "headers": []}
        await site.app(asgi_scope, lambda: pytest.fail("nothing is received"), send)
        assert [message["type"] for message in sent] == ["websocket.close"]
        assert site.inner.types == []


async def test_what_is_not_known_does_not_pass() -> None:
    """A new type of ASGI connection is an error, not an open door."""
    async with Site() as site:
        with pytest.raises(RuntimeError):
            await site.app({"type": "webtransport", "path": "/mcp"}, _nothing, _nothing)
        assert site.inner.types == []


async def test_the_lifespan_runs_inside_the_guards() -> None:
    """The feed is followed from the start of the application to its end, and the application has its own lifespan."""
    async with Site() as site:
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        sent: list[str] = []

        async def send(message: Any) -> None:
            sent.append(message["type"])
            if message["type"] == "lifespan.startup.complete":
                await site.issuer.asked("/revocations", times=1)
                await inbox.put({"type": "lifespan.shutdown"})

        await inbox.put({"type": "lifespan.startup"})
        await site.app({"type": "lifespan"}, inbox.get, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert all(task is asyncio.current_task() for task in asyncio.all_tasks())


async def test_a_guard_that_cannot_start_says_so_to_the_server() -> None:
    """A second guard of a resource, without a shared store: the server is told, and the application never begins."""
    async with Site() as first, Site() as second:
        async with first.guard.running():
            sent: list[Any] = []

            async def startup() -> Any:
                return {"type": "lifespan.startup"}

            async def send(message: Any) -> None:
                sent.append(message)

            await second.app({"type": "lifespan"}, startup, send)
        (failed,) = sent
        assert failed["type"] == "lifespan.startup.failed"
        assert "another process" in failed["message"]
        assert "SqliteReplay" in failed["message"]
        assert second.inner.types == []


async def _nothing(*_: Any) -> Any:
    return {}


async def _ask(site: Site, headers: list[tuple[bytes, bytes]], receive: Callable[[], Any]) -> list[Any]:
    """One POST to the resource in raw ASGI; returns what was sent back."""
    sent: list[Any] = []

    async def hear() -> Any:
        return receive()

    async def send(message: Any) -> None:
        sent.append(message)

    asgi_scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}
    await site.app(asgi_scope, hear, send)
    return sent
