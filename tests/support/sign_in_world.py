"""An MCP server and its authorization server without sockets, whose every word a test can change: for our client.

Both are as they should be until a test makes them hostile. What was sent to them is kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from perhop.client import SignIn
from perhop.client.browser import Receiver
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.offline_issuer import Clock

SERVER = "https://mcp.example.com/mcp"
ISSUER = "https://auth.example.com"
REDIRECT_URI = "http://127.0.0.1:40001/callback"
METADATA = "/.well-known/oauth-authorization-server"
BESIDE, ROOT = "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"

Answer = Callable[[dict[str, str]], Mapping[str, str] | str]


def issuer_metadata(issuer: str = ISSUER, /, **changes: Any) -> dict[str, Any]:
    """Metadata as it should be, with these members changed or (None) left out."""
    usual = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "authorization_response_iss_parameter_supported": True,
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def resource_metadata(resource: str = SERVER, /, **changes: Any) -> dict[str, Any]:
    """What a server says of itself, with these members changed or (None) left out."""
    usual = {"resource": resource, "authorization_servers": [ISSUER], "scopes_supported": ["mcp:read"]}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class SignInWorld:
    """`documents` are what a GET of this URL answers, `answer` what the authorization endpoint sends people back with.

    A token is good for the scopes that were asked for, those of `ceiling` if there is one; `grant` is what else its
    answer says. `calls` are the Authorization fields that came to the server. While `stale` is there, tokens are not
    good enough for it, until the person has been asked more than `content_after` times. The token endpoint grants at
    once and answers when `answers` is set; the person comes back when `comes_back` is.
    """

    clock: Clock = field(default_factory=Clock)
    documents: dict[str, Any] = field(default_factory=dict)
    challenge: str = f'Bearer resource_metadata="https://mcp.example.com{BESIDE}", scope="mcp:read"'
    needed: frozenset[str] = frozenset()
    stale: str | None = None
    content_after: int | None = None
    answers: asyncio.Event = field(default_factory=_set)
    comes_back: asyncio.Event = field(default_factory=_set)
    redirect: str | None = None
    redirect_uri: str = REDIRECT_URI
    answer: Answer = lambda usual: usual
    ceiling: frozenset[str] | None = None
    grant: dict[str, Any] = field(default_factory=lambda: {"expires_in": 300})
    refused: dict[str, Any] | None = None
    registration: dict[str, Any] | None = None
    gets: list[str] = field(default_factory=list)
    visits: list[dict[str, str]] = field(default_factory=list)
    visited: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    token_requests: list[httpx2.Request] = field(default_factory=list)
    registered: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str | None] = field(default_factory=list)
    good: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.documents.setdefault(ISSUER + METADATA, issuer_metadata())
        self.documents.setdefault(f"https://mcp.example.com{BESIDE}", resource_metadata())

    def http(self, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
        """A client whose every request comes here."""
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self._handle), auth=auth)

    def sign_in(self, **arguments: Any) -> SignIn:
        usual: dict[str, Any] = {"person": _Person(self), "http": self.http(), "clock": self.clock}
        return SignIn(arguments.pop("server", SERVER), **(usual | arguments))

    async def call(self, sign_in: SignIn, url: str = SERVER) -> httpx2.Response:
        """One call of the server with this sign-in."""
        async with self.http(sign_in.auth()) as http:
            return await http.post(url, json={})

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        if request.method == "GET":
            self.gets.append(url)
            return _document(self.documents.get(url))
        match request.url.path:
            case "/token":
                answer = self._token(request, await request.aread())
                await self.answers.wait()
                return answer
            case "/register":
                return self._register(await request.aread())
            case _:
                self.calls.append(request.headers.get("authorization"))
                return self._called(request)

    def _called(self, request: httpx2.Request) -> httpx2.Response:
        if self.redirect is not None and str(request.url) == SERVER:
            return httpx2.Response(307, headers={"location": self.redirect})
        scopes = self.good.get(request.headers.get("authorization", "").partition(" ")[2])
        if scopes is None:
            return httpx2.Response(401, headers={"www-authenticate": self.challenge})
        if not self.needed <= scopes:
            lacking = " ".join(sorted(self.needed))
            challenge = f'Bearer error="insufficient_scope", scope="{lacking}"'
            return httpx2.Response(403, headers={"www-authenticate": challenge})
        if self.stale is not None and (self.content_after is None or len(self.visits) <= self.content_after):
            return httpx2.Response(401, headers={"www-authenticate": f"Bearer {self.stale}"})
        return httpx2.Response(200)

    def visit(self, url: str) -> str:
        """A person goes to the authorization endpoint and agrees; the query that they come back with."""
        self.visited.append(url)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        self.visits.append(asked)
        host = urlsplit(url)
        usual = {
            "code": "a-code-of-the-scripted-world",
            "state": asked["state"],
            "iss": f"{host.scheme}://{host.netloc}",
        }
        answer = self.answer(usual)
        return answer if isinstance(answer, str) else urlencode(answer)

    def _token(self, request: httpx2.Request, body: bytes) -> httpx2.Response:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.forms.append(form)
        self.token_requests.append(request)
        if self.refused is not None:
            return httpx2.Response(400, json=self.refused)
        number = len(self.forms)
        token = THE_SCAN.note(f"access-token-{number}-of-the-scripted-world", Kind.TOKEN)
        scope = self.visits[-1].get("scope", "") if self.visits else form.get("scope", "")
        given = frozenset(scope.split())
        self.good[token] = given if self.ceiling is None else given & self.ceiling
        document = {"access_token": token, "token_type": "Bearer", **({"scope": scope} if scope else {}), **self.grant}
        return httpx2.Response(200, json=document)

    def _register(self, body: bytes) -> httpx2.Response:
        asked = json.loads(body)
        self.registered.append(asked)
        usual = {"client_id": f"client-{len(self.registered)}", "token_endpoint_auth_method": "none"}
        refused = self.registration is not None and "error" in self.registration
        return httpx2.Response(400 if refused else 201, json=self.registration or usual)


class _Person:
    """Somebody who agrees to everything; nothing listens anywhere."""

    def __init__(self, world: SignInWorld) -> None:
        self._world = world

    @property
    def redirect_uri(self) -> str:
        return self._world.redirect_uri

    @asynccontextmanager
    async def receiving(self, redirect_uri: str | None) -> AsyncIterator[Receiver]:
        yield self

    async def answer_to(self, url: str, state: str) -> str:
        query = self._world.visit(url)
        await self._world.comes_back.wait()
        return query


def _document(document: Any) -> httpx2.Response:
    if isinstance(document, httpx2.Response):
        return httpx2.Response(document.status_code, headers=document.headers)
    return httpx2.Response(404) if document is None else httpx2.Response(200, json=document)
