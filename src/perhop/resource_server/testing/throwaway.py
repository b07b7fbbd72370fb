"""An authorization server on loopback that lives for one test and asks nobody who they are.

It mints whatever a test wants, good tokens and bad ones. Never run it where a resource trusts it for longer.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from perhop.client.discovery import REVOCATIONS_MEMBER
from perhop.client.token_request import ACCESS_TOKEN_TYPE, EXCHANGE_GRANT
from perhop.errors import Refused
from perhop.resource_server.testing.loopback_http import Reply, Request, json_reply, serve
from perhop.rules.revocation import RevocationKind, revocation_digest
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from perhop.tokens.signature import sign_compact
from perhop.tokens.statement import sign_statement
from perhop.tokens.verify import Leeway, verify


@asynccontextmanager
async def throwaway_issuer(*, clock: Callable[[], float] = time.time) -> AsyncIterator[ThrowawayIssuer]:
    """Run an issuer on a free port of 127.0.0.1 for as long as the context lasts."""
    issuer = ThrowawayIssuer(clock=clock)
    async with serve(issuer.answer) as url:
        issuer.url = url
        yield issuer


class ThrowawayIssuer:
    """An issuer under full control of the test. `requests` counts what was asked of it, by path."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self.url = ""
        self.key = SigningKey.generate()
        self.retired: list[SigningKey] = []
        self.requests: Counter[str] = Counter()
        self._clock = clock
        self._entries: list[dict[str, Any]] = []
        self._grown = asyncio.Event()
        self._asked = asyncio.Condition()

    async def asked(self, path: str, *, times: int) -> None:
        """Wait until this path was asked for so many times: a reader that asks again has read the answer before.

        Raises TimeoutError after five seconds.
        """
        async with asyncio.timeout(5), self._asked:
            await self._asked.wait_for(lambda: self.requests[path] >= times)

    def claims(
        self,
        audience: str,
        *,
        subject: str = "user:throwaway",
        client_id: str = "throwaway-client",
        scopes: Iterable[str] = (),
        lifetime: int = 300,
        sender_key: str | None = None,
    ) -> dict[str, Any]:
        """The claims of a good token for this audience, for a test to change.

        With `sender_key`, an RFC 7638 thumbprint, the token is bound to that key.
        """
        now = int(self._clock())
        return {
            "iss": self.url,
            "sub": subject,
            "client_id": client_id,
            "aud": audience,
            "iat": now,
            "exp": now + lifetime,
            "jti": secrets.token_urlsafe(12),
            "scope": " ".join(scopes),
            **({} if sender_key is None else {"cnf": {"jkt": sender_key}}),
        }

    def mint(
        self,
        audience: str,
        *,
        subject: str = "user:throwaway",
        client_id: str = "throwaway-client",
        scopes: Iterable[str] = (),
        lifetime: int = 300,
        sender_key: str | None = None,
    ) -> str:
        """A good token for this audience; with `sender_key`, a thumbprint, it is bound to that key."""
        claims = self.claims(
            audience,
            subject=subject,
            client_id=client_id,
            scopes=scopes,
            lifetime=lifetime,
            sender_key=sender_key,
        )
        return self.sign(claims)

    def sign(self, claims: Mapping[str, Any], *, media_type: str = "at+jwt", key: SigningKey | None = None) -> str:
        """A token that says exactly this, whether it makes sense or not; by default under the issuer's key."""
        return sign_compact(claims, media_type=media_type, key=key or self.key)

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one stays published."""
        self.retired.append(self.key)
        self.key = SigningKey.generate()

    def revoke(self, kind: RevocationKind, value: str) -> None:
        """Revoke every token, issued until now, that `value` names; the feed tells at once."""
        now = int(self._clock())
        self._entries.append(
            {
                "seq": len(self._entries) + 1,
                "kind": kind.value,
                "digest": revocation_digest(value),
                "not_before": now,
                "exp": now + 960,
            }
        )
        self._grown.set()
        self._grown = asyncio.Event()

    async def answer(self, request: Request) -> Reply:
        """What the issuer says to one HTTP request."""
        async with self._asked:
            self.requests[request.path] += 1
            self._asked.notify_all()
        match request.path:
            case "/.well-known/oauth-authorization-server":
                return json_reply(self._metadata())
            case "/jwks":
                keys = [key.public() for key in (self.key, *self.retired)]
                return json_reply(render_jwks(keys), headers=(("cache-control", "max-age=300"),))
            case "/revocations":
                return await self._revocations(parse_qs(request.query))
            case "/token":
                return self._token(parse_qs(request.body.decode()), _presenter(request))
            case _:
                return json_reply({}, status=404)

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["code"],
            REVOCATIONS_MEMBER: f"{self.url}/revocations",
        }

    async def _revocations(self, query: Mapping[str, list[str]]) -> Reply:
        after, wait = int(query["after"][0]), float(query["wait"][0])
        grown = self._grown
        if after >= len(self._entries) and wait:
            try:
                async with asyncio.timeout(wait):
                    await grown.wait()
            except TimeoutError:
                pass
        entries = self._entries[after:]
        payload = {
            "iss": self.url,
            "iat": int(self._clock()),
            "after": after,
            "next": max(after, len(self._entries)),
            "entries": entries,
        }
        statement = sign_statement(payload, typ="revocations+jwt", key=self.key)
        return Reply(200, (("content-type", "application/jwt"),), statement.encode())

    def _token(self, form: Mapping[str, list[str]], presenter: str) -> Reply:
        resource, scopes = form["resource"][0], form.get("scope", [""])[0].split()
        claims = self.claims(resource, subject=presenter, client_id=presenter, scopes=scopes)
        if form["grant_type"] == [EXCHANGE_GRANT]:
            try:
                parent = verify(
                    form["subject_token"][0],
                    keys={self.url: {key.kid: key.public() for key in (self.key, *self.retired)}},
                    now=int(self._clock()),
                    leeway=Leeway.NONE,
                )
            except Refused:
                return json_reply({"error": "invalid_request"}, status=400)
            claims |= {"sub": parent.subject, "agent": parent.agent, "act": {"sub": presenter}}
        answer = {
            "access_token": self.sign(claims),
            "issued_token_type": ACCESS_TOKEN_TYPE,
            "token_type": "Bearer",
            "expires_in": claims["exp"] - claims["iat"],
            "scope": claims["scope"],
        }
        return json_reply(answer, headers=(("cache-control", "no-store"),))


def _presenter(request: Request) -> str:
    """The client id, believed as it comes: from HTTP Basic, else from the form."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return unquote_plus(base64.b64decode(credentials).decode().partition(":")[0])
    return parse_qs(request.body.decode())["client_id"][0]
