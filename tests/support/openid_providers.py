"""An OpenID provider for tests: it signs in whom a test names, and can be told to answer wrong in one way at a time.

In this process, without a socket: what Perhop sends to `https://login.example.com` comes here.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from perhop.authorization_server.federation.federation import Federation, LazyHttp
from perhop.core.provider import Admits, Provider, SignInWays
from perhop.core.secret import Secret
from perhop.rules import base64url
from perhop.tokens.keys import SigningKey
from tests.support.authorization_servers import RunningServer
from tests.support.browsers import Browser, a_request
from tests.support.forge import ABSENT, sign
from tests.support.gateways import serving
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind

LOGIN, OTHER = "https://login.example.com", "https://evil.example.net"
CLIENT = "perhop-at-login"
PROVIDER_SECRET = THE_SCAN.note("a-secret-of-perhop-at-its-provider-123456", Kind.CLIENT_SECRET)


def a_provider(name: str = "corp", issuer: str = LOGIN, **changes: Any) -> Provider:
    """A provider as it is configured: its word counts for addresses of example.com."""
    usual: dict[str, Any] = {"label": "Corp", "client_id": CLIENT, "email_domains": ("example.com",)}
    return Provider(name=name, issuer=issuer, client_secret=Secret(PROVIDER_SECRET), **(usual | changes))


def one_way(*providers: Provider, local_accounts: bool = True) -> SignInWays:
    return SignInWays(local_accounts=local_accounts, providers={each.name: each for each in providers})


ANYONE = Admits.ANYONE
ANN_THERE = {"sub": "ann-there", "email": "ann@example.com", "email_verified": True}


@dataclass(slots=True)
class OpenIdProvider:
    """One provider. `claims` and `header` change what its ID tokens say, `document` its metadata, `userinfo` that.

    `statuses` are those that an endpoint answers with instead, by the last part of its path.
    """

    now: Callable[[], float]
    issuer: str = LOGIN
    key: SigningKey = field(default_factory=SigningKey.generate)
    signs_with: SigningKey | None = None
    names_issuer: bool = True
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "ann-there"})
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    raw_id_token: str | None = None
    access_token: str | None = None
    seen: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def sign_in(self, url: str) -> str:
        """What a person's browser does at the authorization endpoint: signs in, and is sent back to this URL."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self.issuer}/authorize?")
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        self.asked.append(asked)
        code = THE_SCAN.note(secrets.token_urlsafe(24), Kind.CODE)
        self._codes[code] = asked
        iss = {"iss": self.issuer} if self.names_issuer else {}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], **iss})}"

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """Answer what Perhop asks."""
        path = urlsplit(str(request.url)).path
        last = path.rpartition("/")[2]
        self.seen.append(last)
        if last in self.statuses:
            return httpx2.Response(self.statuses[last], json={"error": "invalid_grant"})
        match path:
            case "/.well-known/openid-configuration":
                return httpx2.Response(200, json=self._metadata())
            case "/keys":
                return httpx2.Response(200, json={"keys": [self.key.public().as_jwk()]})
            case "/token":
                return self._token(request)
            case "/userinfo":
                return httpx2.Response(200, json=self.userinfo)
            case _:
                return httpx2.Response(404)

    def _metadata(self) -> dict[str, Any]:
        usual = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "authorization_response_iss_parameter_supported": self.names_issuer,
        }
        return {name: value for name, value in (usual | self.document).items() if value is not ABSENT}

    def _token(self, request: httpx2.Request) -> httpx2.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        pair = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        if pair != f"{CLIENT}:{PROVIDER_SECRET}" and form.get("client_secret") != PROVIDER_SECRET:
            return httpx2.Response(401, json={"error": "invalid_client"})
        asked = self._codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        digest = base64url.encode(hashlib.sha256(verifier.encode()).digest())
        if asked is None or asked["code_challenge"] != digest or asked["redirect_uri"] != form["redirect_uri"]:
            return httpx2.Response(400, json={"error": "invalid_grant"})
        THE_SCAN.note(verifier, Kind.VERIFIER)
        answer = {
            "access_token": self.access_token or THE_SCAN.note(secrets.token_urlsafe(24), Kind.TOKEN),
            "token_type": "Bearer",
            "id_token": self.raw_id_token or self.id_token(asked["nonce"], asked),
        }
        return httpx2.Response(200, json={name: value for name, value in answer.items() if value})

    def id_token(self, nonce: str, asked: Mapping[str, str] | None = None) -> str:
        """An ID token for the person of the moment."""
        now = int(self.now())
        fresh = {"auth_time": now} if asked is not None and "max_age" in asked else {}
        usual = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **fresh}
        said = {name: value for name, value in (usual | self.person | self.claims).items() if value is not ABSENT}
        key = self.signs_with or self.key
        header = {"kid": self.key.kid, "typ": "JWT"} | self.header
        return THE_SCAN.note(sign(said, key, **header), Kind.TOKEN)


def over(*providers: OpenIdProvider) -> httpx2.AsyncClient:
    """An HTTP client in whose world there are these providers and nobody else."""
    hosts = {urlsplit(each.issuer).netloc: each for each in providers}

    def answer(request: httpx2.Request) -> httpx2.Response:
        found = hosts.get(request.url.netloc.decode())
        if found is None:
            raise httpx2.ConnectError("nobody is there", request=request)
        return found.handle(request)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


def know(server: RunningServer, *providers: OpenIdProvider, ways: SignInWays | None = None) -> None:
    """Let a server know these providers; the first is `corp`, unless other ways are given."""
    http = over(*providers)

    async def opened() -> httpx2.AsyncClient:
        return http

    server.change(federation=Federation.over(LazyHttp(opened), clock=server.clock))
    server.change_registry(sign_in=ways or one_way(a_provider()))


class Person(Browser):
    """A browser that goes to providers and comes back."""

    async def go(self, page: httpx2.Response, name: str = "corp") -> str:
        """Press the provider's button; returns where it leads."""
        going = await self.send(page, {"provider": name})
        assert going.status_code == 200, going.text
        (url,) = re.findall(r'http-equiv="refresh" content="0; url=([^"]*)"', going.text)
        return html.unescape(url)

    async def back(self, url: str) -> httpx2.Response:
        return await self._http.get(url)

    async def signed_in(self, login: OpenIdProvider, query: str | None = None) -> httpx2.Response:
        """The whole way, in a browser that knows nothing yet, up to the callback's answer."""
        self._http.cookies.clear()
        page = await self.open(query or a_request())
        return await self.back(login.sign_in(await self.go(page)))


@asynccontextmanager
async def served(provider: OpenIdProvider) -> AsyncIterator[OpenIdProvider]:
    """The same on a port of this machine; its issuer is where it is."""

    async def app(asgi_scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        url = f"{provider.issuer}{asgi_scope['raw_path'].decode()}"
        answer = provider.handle(httpx2.Request(asgi_scope["method"], url, headers=asgi_scope["headers"], content=body))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})

    def made(url: str) -> Any:
        provider.issuer = url
        return app

    async with serving(made):
        yield provider
