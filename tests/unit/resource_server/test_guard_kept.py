"""A guard that has admitted a token: nothing but its signature and its claims are taken as looked at."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.core.token import VerifiedToken
from perhop.resource_server import Admitted, Challenge, Guard
from perhop.resource_server.testing.loopback_http import json_reply
from perhop.rules.revocation import RevocationKind
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.support.dpop import ProofKey
from tests.support.offline_issuer import Clock, OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"


class Site:
    """A guard that runs, and a token that it has admitted."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.issuer = OfflineIssuer(clock=self.clock)
        self.guard = Guard(resource=RESOURCE, issuers=[self.issuer.url], http=self.issuer.http(), clock=self.clock)
        self.token = self.issuer.mint(RESOURCE)

    async def ask(self, token: str | None = None, scheme: str = "Bearer") -> VerifiedToken | str:
        """The token as it was admitted, or why it was not."""
        headers = (("authorization", f"{scheme} {self.token if token is None else token}"),)
        match await self.guard.check_token(headers):
            case Admitted() as admitted:
                return admitted.token.token
            case Challenge() as challenge:
                return challenge.reason

    async def admitted(self) -> None:
        """The token comes twice, and its signature is looked at once."""
        first = await self.ask()
        assert isinstance(first, VerifiedToken)
        assert await self.ask() is first


@pytest.fixture
async def site() -> Any:
    made = Site()
    await made.admitted()
    yield made
    await made.guard.aclose()


async def test_it_expires_to_the_second(site: Site) -> None:
    """The leeway of guards, and not a second more."""
    site.clock.now += 300 + 60 - 1
    assert isinstance(await site.ask(), VerifiedToken)
    site.clock.now += 1
    assert await site.ask() == "token.expired"


async def test_its_key_is_revoked(site: Site) -> None:
    """When the issuer publishes the key no more, and the guard has read that, the token is nobody's."""
    site.issuer.replies["/jwks"] = json_reply(render_jwks([SigningKey.generate().public()]))
    site.clock.now += 301
    assert await site.ask() == "token.signature"


async def test_the_keys_cannot_be_read_any_more(site: Site) -> None:
    """Keys that are too old are not used for a token that came before, either."""
    site.issuer.is_down = True
    site.clock.now += 3600
    assert await site.ask() == "upstream.unavailable"


async def test_it_is_revoked(site: Site) -> None:
    """What the feed has told counts from then on."""
    site.issuer.revoke(RevocationKind.SUBJECT, "user:throwaway")
    await site.guard._feeds[site.issuer.url]._has_caught_up(wait=0)
    assert await site.ask() == "token.revoked"


async def test_a_token_for_another_server_is_refused_each_time(site: Site) -> None:
    """That its signature is good makes no other audience of it."""
    other = site.issuer.mint("https://other.example.com/mcp")
    assert [await site.ask(other) for _ in range(3)] == ["audience.mismatch"] * 3


async def test_a_token_of_a_key_is_refused_each_time_without_proof(site: Site) -> None:
    """A token that is bound to a key needs its proof the second time as the first, under either scheme."""
    bound = site.issuer.mint(RESOURCE, sender_key=ProofKey().thumbprint)
    assert [await site.ask(bound) for _ in range(2)] == ["sender.mismatch"] * 2
    assert await site.ask(bound, scheme="DPoP") == "sender.mismatch"
    assert await site.ask(scheme="DPoP") == "sender.mismatch"


async def test_another_token_under_its_signature(site: Site) -> None:
    """Its signature makes nothing else good."""
    header, _, signature = site.token.split(".")
    payload = site.issuer.mint(RESOURCE, subject="user:mallory").split(".")[1]
    assert await site.ask(f"{header}.{payload}.{signature}") == "token.signature"
    assert isinstance(await site.ask(), VerifiedToken)
