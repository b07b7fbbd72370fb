"""Does a server take only tokens that are addressed to it? Sends it right and wrong ones and looks at the status."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from perhop.resource_server.asgi import AsgiApp, AsgiMessage
from perhop.resource_server.testing.throwaway import ThrowawayIssuer
from perhop.rules import base64url
from perhop.tokens.keys import SigningKey

_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "assert-audience-enforced", "version": "1"},
    },
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request: what its token was, and the status that came back."""

    title: str
    status: int
    challenge: str
    is_good: bool

    @property
    def ok(self) -> bool:
        """A good token is served; anything else gets 401 and a bearer challenge."""
        if self.is_good:
            return self.status < 400
        return self.status == 401 and self.challenge.lower().startswith("bearer")


async def assert_audience_enforced(
    target: str | AsgiApp, *, issuer: ThrowawayIssuer, resource: str
) -> tuple[Attempt, ...]:
    """Raise AssertionError unless the server takes a right token and answers 401 to each wrong one.

    `target` is the URL of the MCP endpoint of a server that runs, or an ASGI application that serves `resource`; it
    must trust `issuer`. Returns what was tried.
    """
    async with _client(target) as http:
        url = target if isinstance(target, str) else resource
        attempts = [await _try(http, url, "a right token", [issuer.mint(resource)], is_good=True)]
        for title, tokens in _wrong(issuer, resource).items():
            attempts.append(await _try(http, url, title, tokens, is_good=False))
    failed = [f"{each.title}: HTTP {each.status}" for each in attempts if not each.ok]
    if failed:
        raise AssertionError("the audience is not enforced: " + "; ".join(failed))
    return tuple(attempts)


def _wrong(issuer: ThrowawayIssuer, resource: str) -> dict[str, list[str]]:
    """Title -> tokens to send, each in an Authorization header of its own."""
    claims, other = issuer.claims(resource), "https://other.example.com/mcp"

    def audience(value: Any) -> list[str]:
        return [issuer.sign({**claims, "aud": value})]

    def without(name: str) -> list[str]:
        return [issuer.sign({key: value for key, value in claims.items() if key != name})]

    good = issuer.sign(claims)
    return {
        "no token": [],
        "a token for another resource": audience(other),
        "a token for a neighbour whose name begins alike": audience(resource + "-admin"),
        "a token for the resource and a slash": audience(resource + "/"),
        "a token for the whole origin": audience("/".join(resource.split("/")[:3])),
        "a token for the resource in capitals": audience(resource.upper()),
        "a token for anything": audience("*"),
        "a token for the client": audience(claims["client_id"]),
        "a token for the issuer": audience(issuer.url),
        "a token for a list of this resource alone": audience([resource]),
        "a token for two resources": audience([resource, other]),
        "a token for null": audience(None),
        "a token for the empty string": audience(""),
        "a token without audience": without("aud"),
        "a token without expiry": without("exp"),
        "an expired token": [issuer.sign({**claims, "iat": claims["iat"] - 900, "exp": claims["iat"] - 600})],
        "a token of another type": [issuer.sign(claims, media_type="JWT")],
        "a token under a stranger's key": [_forged(claims, issuer.key.kid)],
        "a token without signature": [_unsigned(claims)],
        "a token under the public key as a shared secret": [_confused(claims, issuer)],
        "two tokens, a right one first": [good, *audience(other)],
        "two tokens, a right one last": [*audience(other), good],
    }


def _forged(claims: dict[str, Any], kid: str) -> str:
    stranger = SigningKey.generate()
    signed = _signed_part({"alg": stranger.algorithm.value, "kid": kid, "typ": "at+jwt"}, claims)
    return f"{signed}.{base64url.encode(stranger.sign(signed.encode()))}"


def _unsigned(claims: dict[str, Any]) -> str:
    return _signed_part({"alg": "none", "typ": "at+jwt"}, claims) + "."


def _confused(claims: dict[str, Any], issuer: ThrowawayIssuer) -> str:
    signed = _signed_part({"alg": "HS256", "kid": issuer.key.kid, "typ": "at+jwt"}, claims)
    mac = hmac.new(issuer.key.public().as_public_pem(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url.encode(mac)}"


def _signed_part(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return ".".join(base64url.encode(json.dumps(part).encode()) for part in (header, claims))


async def _try(http: httpx2.AsyncClient, url: str, title: str, tokens: list[str], *, is_good: bool) -> Attempt:
    headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")]
    headers += [("authorization", f"Bearer {token}") for token in tokens]
    async with http.stream("POST", url, headers=headers, content=json.dumps(_INITIALIZE)) as response:
        return Attempt(title, response.status_code, response.headers.get("www-authenticate", ""), is_good)


@asynccontextmanager
async def _client(target: str | AsgiApp) -> AsyncIterator[httpx2.AsyncClient]:
    if isinstance(target, str):
        async with httpx2.AsyncClient() as http:
            yield http
    else:
        async with _lifespan(target), httpx2.AsyncClient(transport=httpx2.ASGITransport(target)) as http:
            yield http


@asynccontextmanager
async def _lifespan(app: AsgiApp) -> AsyncIterator[None]:
    """Run an application's lifespan, as its server would."""
    inbox: asyncio.Queue[AsgiMessage] = asyncio.Queue()
    outbox: asyncio.Queue[str] = asyncio.Queue()

    async def send(message: AsgiMessage) -> None:
        await outbox.put(message["type"])

    async def live() -> None:
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, send)
        finally:
            await outbox.put("ended")

    task = asyncio.create_task(live())
    await inbox.put({"type": "lifespan.startup"})
    started = await outbox.get()
    if started == "lifespan.startup.failed":
        await task
        raise AssertionError("the application did not start")
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        if started == "ended":
            # An application without lifespan raises at once, and serves all the same.
            await asyncio.gather(task, return_exceptions=True)
        else:
            await task
