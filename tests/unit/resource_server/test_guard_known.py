"""A token that a guarded application has served before: what can have changed is asked each time, before all else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from perhop.resource_server import Admitted, Guard, current_token
from perhop.resource_server.known_tokens import KnownTokens
from perhop.resource_server.testing.loopback_http import json_reply
from perhop.rules.call_binding import bind_call
from perhop.rules.plain_request import plain_fields
from perhop.rules.revocation import RevocationKind
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.support.dpop import ProofKey
from tests.support.offline_issuer import NOW, Clock, OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"
BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}'
Fields = list[tuple[bytes, bytes]]


class Site:
    """A guarded application that answers 204, and a token that it has served."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.issuer = OfflineIssuer(clock=self.clock)
        usual = {"resource": RESOURCE, "issuers": [self.issuer.url]}
        self.guard = Guard(**(usual | changes), http=self.issuer.http(), clock=self.clock)
        self.token = self.issuer.mint(RESOURCE)
        self.served: list[str] = []

    async def begun(self) -> Site:
        """The same, once the token has come."""
        assert await self.ask() == 204
        assert self.is_known()
        return self

    def fields(self, token: str | None = None, *more: tuple[bytes, bytes], scheme: str = "Bearer") -> Fields:
        authorization = f"{scheme} {self.token if token is None else token}".encode()
        return [(b"authorization", authorization), (b"content-type", b"application/json"), *more]

    def is_known(self, token: str | None = None, *more: tuple[bytes, bytes], scheme: str = "Bearer") -> bool:
        """True where the short way is taken."""
        fields = plain_fields(self.fields(token, *more, scheme=scheme))
        return fields is not None and self.guard.recognise(fields) is not None

    async def ask(self, token: str | None = None, *more: tuple[bytes, bytes], scheme: str = "Bearer") -> Any:
        return (await self.sent(token, *more, scheme=scheme))[0]["status"]

    async def sent(self, token: str | None = None, *more: tuple[bytes, bytes], scheme: str = "Bearer") -> list[Any]:
        """All messages of the answer to one POST."""
        sent: list[Any] = []

        async def hear() -> Any:
            return {"type": "http.request", "body": BODY}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = self.fields(token, *more, scheme=scheme)
        asgi_scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}
        await self.guard.asgi(self._application)(asgi_scope, hear, send)
        return sent

    async def reason(self, token: str | None = None, *more: tuple[bytes, bytes], scheme: str = "Bearer") -> str:
        """Why the token is not admitted, by the full rule; the application refuses it alike."""
        headers = tuple((name.decode(), value.decode()) for name, value in self.fields(token, *more, scheme=scheme))
        outcome = await self.guard.check_token(headers)
        assert not isinstance(outcome, Admitted)
        assert not self.is_known(token, *more, scheme=scheme)
        before = len(self.served)
        assert (await self.ask(token, *more, scheme=scheme)) == outcome.status
        assert len(self.served) == before
        return outcome.reason

    async def _application(self, _: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == BODY
        self.served.append(current_token().jti)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = await Site().begun()
    yield made
    await made.guard.aclose()


async def test_its_own_token_is_served(site: Site) -> None:
    """The application finds the token of this request, and it is what the full rule gives."""
    other = site.issuer.mint(RESOURCE, subject="user:bob")
    assert [await site.ask(each) for each in (site.token, other, site.token, other)] == [204] * 4
    first, second = site.served[1], site.served[2]
    assert first != second
    assert site.served[1:] == [first, second] * 2


async def test_it_lives_with_leeway_by_the_full_rule_only() -> None:
    """From its `exp` on the full rule looks at it; after the leeway it is refused, to the second."""
    site = Site()
    site.token = site.issuer.mint(RESOURCE, lifetime=60)
    await site.begun()
    site.clock.now += 59
    assert site.is_known()
    site.clock.now += 1
    assert not site.is_known()
    assert await site.ask() == 204
    site.clock.now += 12
    assert await site.reason() == "token.expired"
    await site.guard.aclose()


async def test_a_clock_that_is_set_back(site: Site) -> None:
    """A token from the future is refused although it was served."""
    site.clock.now -= 1
    assert not site.is_known()
    assert await site.ask() == 204
    site.clock.now -= 60
    site.guard._issuers[site.issuer.url]._held = None  # keys of the future are fetched anew
    assert await site.reason() == "token.lifetime"


async def test_its_key_is_gone(site: Site) -> None:
    """Keys that were read anew hold no key of this token."""
    site.issuer.replies["/jwks"] = json_reply(render_jwks([SigningKey.generate().public()]))
    trusted = site.guard._issuers[site.issuer.url]
    await trusted._fetching.join()
    assert trusted.keys_at_hand(NOW) is not None
    assert await site.reason() == "token.signature"


async def test_the_issuer_is_silent(site: Site) -> None:
    """Keys that are too old admit nothing."""
    site.issuer.is_down = True
    site.clock.now += 3600
    assert await site.reason() == "upstream.unavailable"


async def test_it_is_revoked(site: Site) -> None:
    """What the feed has told counts from then on."""
    site.issuer.revoke(RevocationKind.SUBJECT, "user:throwaway")
    await site.guard._feeds[site.issuer.url]._has_caught_up(wait=0)
    assert await site.reason() == "token.revoked"


async def test_the_feed_is_stale_where_the_risk_is_high() -> None:
    """At high risk a stale feed admits nothing, also what it has admitted."""
    site = await Site(risk="high").begun()
    site.issuer.is_down = True
    site.clock.now += 11
    assert await site.reason() == "upstream.unavailable"
    await site.guard.aclose()


async def test_another_text_is_another_token(site: Site) -> None:
    """Not its header, not its claims, not its signature alone make a token known."""
    header, payload, signature = site.token.split(".")
    other = site.issuer.mint(RESOURCE, subject="user:mallory").split(".")
    assert await site.reason(f"{header}.{other[1]}.{signature}") == "token.signature"
    assert await site.reason(f"{header}.{payload}.{other[2]}") == "token.signature"
    assert (await site.reason(f"{site.token}=")).startswith("token.")
    assert (await site.reason(f" {site.token}")).startswith("token.")


async def test_who_speaks_of_proofs_is_answered_in_these_words(site: Site) -> None:
    """With a proof beside it, or under the other scheme, the full rule looks at it."""
    assert not site.is_known(None, (b"dpop", b"x"))
    answer = await site.sent(None, (b"dpop", b"x"))
    assert [name for name, _ in answer[0]["headers"]] == [b"dpop-nonce"]
    assert await site.reason(scheme="DPoP") == "sender.mismatch"
    assert not site.is_known(scheme="bearer")
    assert await site.ask(scheme="bearer") == 204


async def test_two_tokens_in_one_request(site: Site) -> None:
    """A known token does not hide that another came with it."""
    for name in (b"authorization", b"Authorization"):
        assert plain_fields(site.fields(None, (name, b"Bearer x"))) is None
        assert await site.ask(None, (name, b"Bearer x")) == 401


async def test_what_is_used_up_is_never_known() -> None:
    """A token of a key needs its proof, and a call token its call, the second time as the first."""
    site = Site()
    bound = site.issuer.mint(RESOURCE, sender_key=ProofKey().thumbprint)
    assert await site.reason(bound) == "sender.mismatch"
    binding = bind_call("tools/call", {"name": "add", "arguments": {"a": 1}})
    digests = {"arguments_sha256": binding.arguments_sha256, "params_sha256": binding.params_sha256}
    detail = {"type": "mcp_call", "method": binding.method, "name": "add", **digests}
    once = site.issuer.sign(site.issuer.claims(RESOURCE) | {"authorization_details": [detail]})
    assert [await site.ask(once), site.is_known(once), await site.ask(once)] == [204, False, 401]
    await site.guard.aclose()


async def test_the_number_of_known_tokens_has_an_end(site: Site) -> None:
    """What is full, or older than any token may be, begins anew."""
    known = KnownTokens(most=3)
    issuer, feed = site.guard._issuers[site.issuer.url], site.guard._feeds[site.issuer.url]

    async def keep(now: int) -> int:
        outcome = await site.guard.check_token((("authorization", f"Bearer {site.issuer.mint(RESOURCE)}"),))
        assert isinstance(outcome, Admitted)
        known.keep(outcome.proved, issuer=issuer, keys={}, feed=feed, heard=0, now=now)
        return len(known)

    assert [await keep(NOW) for _ in range(5)] == [1, 2, 3, 1, 2]
    assert [await keep(now) for now in (NOW + 900, NOW + 901, NOW)] == [3, 1, 1]
