"""The guard in front of an ASGI application, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from perhop.resource_server import Guard, current_subject_token, current_token
from perhop.resource_server.asgi import TOKEN_KEY
from perhop.resource_server.request_body import BODY_SECONDS
from perhop.rules.header_bounds import MAX_HEADER_BYTES, MOST_FIELDS
from perhop.rules.mcp_message import MAX_BODY_BYTES
from perhop.rules.revocation import RevocationKind
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
        clock = self.clock = Clock()
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

    async with Site() as site:
        sent = await _ask(site, [(b"authorization", site.bearer()["authorization"].encode())], never)
        assert sent[0]["status"] == 408


async def _ended(site: Site, how: str) -> None:
    match how:
        case "revoked":
            site.issuer.revoke(RevocationKind.SUBJECT, "user:throwaway")
            while not site.guard._feeds[site.issuer.url]._taken:
                await asyncio.sleep(0)
        case "expired":
            site.clock.now += 360
        case "its key is gone":
            site.issuer.rotate()
            site.issuer.retired.clear()
            site.clock.now += 301
        case _:
            site.issuer.is_down = True
            site.clock.now += 11


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize(
    ("how", "status"), [("revoked", 401), ("expired", 401), ("its key is gone", 401), ("the feed is stale", 503)]
)
async def test_a_token_that_ends_while_its_body_is_awaited_is_not_served(how: str, status: int, is_known: bool) -> None:
    """What was good when the headers came is asked again when the body has, in whatever way the token was found."""
    async with Site(risk="high") as site:
        bearer = site.bearer()
        if is_known:
            assert (await site.http.post("/mcp", content=PING, headers=bearer)).status_code == 204
        pieces = [{"type": "http.request", "body": PING[10:]}]

        async def trickle() -> Any:
            if pieces[1:]:
                await asyncio.sleep(0)
                await _ended(site, how)
                return pieces.pop(0)
            pieces.append({})
            return {"type": "http.request", "body": PING[:10], "more_body": True}

        before = len(site.inner.seen)
        sent = await _ask(site, [(name.encode(), value.encode()) for name, value in bearer.items()], trickle)
        assert (sent[0]["status"], len(site.inner.seen)) == (status, before)


async def test_a_body_that_was_waited_for_is_served_to_a_token_that_is_still_good() -> None:
    """Nothing has changed meanwhile, so nothing is refused."""
    async with Site(risk="high") as site:

        async def later() -> Any:
            await asyncio.sleep(0)
            return {"type": "http.request", "body": PING, "more_body": False}

        fields = [(name.encode(), value.encode()) for name, value in site.bearer().items()]
        assert (await _ask(site, fields, later))[0]["status"] == 204


async def test_a_token_whose_body_is_there_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was waited for, nothing can have changed."""
    async with Site() as site:
        monkeypatch.setattr(site.guard, "check_again", lambda *_, **__: pytest.fail("asked again"))
        for _ in range(2):
            assert (await site.http.post("/mcp", content=PING, headers=site.bearer())).status_code == 204


class Unread(bytes):
    """What nobody may look into."""

    def decode(self, *_: Any) -> str:
        pytest.fail("a field was read")


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_request_of_too_many_fields_is_refused_unread(is_known: bool) -> None:
    """200 are served; of 201 none is read, with or without a good token."""
    async with Site() as site:
        fields = [(name.encode(), value.encode()) for name, value in site.bearer().items()]
        if is_known:
            await _ask(site, fields, lambda: {"type": "http.request", "body": PING, "more_body": False})
        more = [(b"x-%d" % number, b"") for number in range(MOST_FIELDS - len(fields))]
        sent = await _ask(site, fields + more, lambda: {"type": "http.request", "body": PING, "more_body": False})
        assert (MOST_FIELDS, sent[0]["status"]) == (200, 204)
        for name in (b"x", b"x-200"):
            unread = [(each, Unread(value)) for each, value in [*fields, *more, (name, b"")]]
            sent = await _ask(site, unread, lambda: pytest.fail("the body was asked for"))
            assert (sent[0]["status"], sent[1]["body"]) == (431, b"")
        sent = await _ask(site, [(b"a", Unread())] * 50_000, lambda: pytest.fail("the body was asked for"))
        assert sent[0]["status"] == 431


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_head_of_16_kib_is_served_and_one_byte_more_is_not(is_known: bool) -> None:
    """Names, values and four bytes for each field count, as at our own listener; so does a field that came twice."""
    async with Site() as site:
        fields = [(name.encode(), value.encode()) for name, value in site.bearer().items()]
        if is_known:
            await _ask(site, fields, lambda: {"type": "http.request", "body": PING, "more_body": False})
        left = MAX_HEADER_BYTES - sum(len(name) + len(value) + 4 for name, value in fields)
        for more, status in ((0, 204), (1, 431)):
            for filling in (
                [(b"x-fill", b"a" * (left - 10 + more))],
                [(b"x-fill", b""), (b"x-fill", b"a" * (left - 20 + more))],
            ):
                sent = await _ask(
                    site, fields + filling, lambda: {"type": "http.request", "body": PING, "more_body": False}
                )
                assert sent[0]["status"] == status


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


async def test_metadata_is_at_the_path_as_a_server_has_it() -> None:
    """The escapes of a resource's path are decoded by the server, in the metadata's path as in the resource's own."""
    async with Site(resource="https://mcp.example.com/my%20rooms") as site:
        answer = await site.http.get("/.well-known/oauth-protected-resource/my%20rooms")
        assert (answer.status_code, answer.json()["resource"]) == (200, "https://mcp.example.com/my%20rooms")
        bearer = site.bearer("https://mcp.example.com/my%20rooms")
        assert (await site.http.post("/my%20rooms", content=b"[]", headers=bearer)).status_code == 400


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
        heard = receive()
        return await heard if isinstance(heard, Awaitable) else heard

    async def send(message: Any) -> None:
        sent.append(message)

    asgi_scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}
    await site.app(asgi_scope, hear, send)
    return sent
