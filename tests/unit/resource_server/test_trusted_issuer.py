"""An issuer's keys: fetched when needed, kept while good, and never at a stranger's bidding."""

from __future__ import annotations

import asyncio
import logging

import pytest

from perhop.client.connections import Connections
from perhop.errors import IssuerUnavailable, KeysUnavailable
from perhop.resource_server import Admitted, Challenge, Guard
from perhop.resource_server.testing.loopback_http import Reply, json_reply
from perhop.resource_server.trusted_issuer import TrustedIssuer
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.support import forge
from tests.support.offline_issuer import Clock, OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"


def _pair() -> tuple[Clock, OfflineIssuer, TrustedIssuer]:
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    return clock, issuer, TrustedIssuer(issuer.url, connections=Connections(issuer.http()), clock=clock)


async def test_keys_are_fetched_once_for_all_who_wait() -> None:
    """A hundred callers at once make one request for metadata and one for keys."""
    _, issuer, trusted = _pair()
    await asyncio.gather(*(trusted.keys() for _ in range(100)))
    assert issuer.requests == {"/.well-known/oauth-authorization-server": 1, "/jwks": 1}


@pytest.mark.parametrize(
    ("cache_control", "max_age"),
    [
        ("max-age=120", 120),
        ("public, max-age=300", 300),
        ("max-age=1", 60),
        ("max-age=86400", 600),
        ("no-store", 300),
        ("x-max-age=120", 300),
        ("max-age=-5", 300),
    ],
)
async def test_keys_are_kept_for_their_max_age_within_bounds(cache_control: str, max_age: int) -> None:
    """Between a minute and ten minutes, five minutes by default; then they are fetched before they are used."""
    clock, issuer, trusted = _pair()
    keys = render_jwks([issuer.key.public()])
    issuer.replies["/jwks"] = json_reply(keys, headers=(("cache-control", cache_control),))
    await trusted.keys()
    clock.now += 0.8 * max_age - 1
    await trusted.keys()
    assert issuer.requests["/jwks"] == 1
    clock.now += 0.2 * max_age + 1
    await trusted.keys()
    assert issuer.requests["/jwks"] == 2


async def test_a_key_that_is_withdrawn_is_not_used_after_its_max_age() -> None:
    """After max-age the first caller already gets the new set, not the old one."""
    clock, issuer, trusted = _pair()
    old = issuer.key.kid
    assert old in await trusted.keys()
    issuer.key = SigningKey.generate()
    clock.now += 300
    assert set(await trusted.keys()) == {issuer.key.kid}


async def test_keys_are_renewed_in_the_background_before_they_age() -> None:
    """In the last fifth of max-age callers get the held keys at once while new ones are fetched."""
    clock, issuer, trusted = _pair()
    held = await trusted.keys()
    clock.now += 250
    issuer.rotate()
    assert await trusted.keys() is held
    await trusted._fetching.settle()
    assert issuer.key.kid in await trusted.keys()
    assert issuer.requests["/jwks"] == 2


async def test_a_failed_fetch_keeps_the_old_keys_for_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    """Keys stay in use while the issuer does not answer, until they are an hour old; the log says so."""
    clock, issuer, trusted = _pair()
    held = await trusted.keys()
    issuer.is_down = True
    clock.now += 3599
    with caplog.at_level(logging.WARNING, "perhop.resource_server"):
        assert await trusted.keys() is held
    assert "keys of https://auth.example.com were not fetched" in caplog.text
    clock.now += 1
    with pytest.raises(KeysUnavailable):
        await trusted.keys()
    issuer.is_down = False
    clock.now += 2
    assert issuer.key.kid in await trusted.keys()


async def test_an_issuer_that_is_down_is_not_asked_by_every_caller() -> None:
    """After a failure there is a pause of two seconds in which callers are told no at once."""
    clock, issuer, trusted = _pair()
    issuer.replies["/jwks"] = Reply(503, (), b"")
    for _ in range(50):
        with pytest.raises(KeysUnavailable):
            await trusted.keys()
    assert issuer.requests["/jwks"] == 1
    clock.now += 2
    with pytest.raises(KeysUnavailable):
        await trusted.keys()
    assert issuer.requests["/jwks"] == 2


async def test_keys_that_have_moved_are_found() -> None:
    """A fetch that fails makes the next one ask the metadata again."""
    clock, issuer, trusted = _pair()
    await trusted.keys()
    document = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/new"}
    issuer.replies["/.well-known/oauth-authorization-server"] = json_reply(document)
    issuer.replies["/new"] = json_reply(render_jwks([issuer.key.public()]))
    issuer.replies["/jwks"] = Reply(404, (), b"")
    for _ in range(2):
        clock.now += 300
        await trusted.keys()
    assert issuer.requests["/new"] == 1


async def test_an_issuer_without_keys_has_none() -> None:
    """Metadata without `jwks_uri` gives no keys, and metadata of another issuer neither."""
    clock, issuer, trusted = _pair()
    issuer.replies["/.well-known/oauth-authorization-server"] = json_reply({"issuer": issuer.url})
    with pytest.raises(KeysUnavailable):
        await trusted.keys()
    clock.now += 2
    issuer.replies["/.well-known/oauth-authorization-server"] = json_reply({"issuer": "https://evil.example"})
    with pytest.raises(KeysUnavailable):
        await trusted.keys()
    with pytest.raises(IssuerUnavailable):
        await trusted.metadata()
    assert issuer.requests["/jwks"] == 0


class Door:
    """A guard on the same clock as its issuer."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.issuer = OfflineIssuer(clock=self.clock)
        self.guard = Guard(resource=RESOURCE, issuers=[self.issuer.url], http=self.issuer.http(), clock=self.clock)

    async def knock(self, token: str) -> Admitted | Challenge:
        return await self.guard.check_token((("authorization", f"Bearer {token}"),))


async def test_a_rotation_makes_no_token_invalid() -> None:
    """Right after a rotation, tokens of the new key pass, many at a time, and those of the old key too."""
    door = Door()
    old = door.issuer.mint(RESOURCE)
    assert isinstance(await door.knock(old), Admitted)
    door.issuer.rotate()
    tokens = [door.issuer.mint(RESOURCE) for _ in range(20)]
    outcomes = await asyncio.gather(*(door.knock(token) for token in (*tokens, old)))
    assert all(isinstance(outcome, Admitted) for outcome in outcomes)
    assert door.issuer.requests["/jwks"] == 2
    await door.guard.aclose()


async def test_a_flood_of_invented_keys_costs_one_fetch_in_a_cooldown() -> None:
    """However many tokens name unknown keys, keys are fetched once in 30 seconds, and good tokens pass."""
    door = Door()
    good = door.issuer.mint(RESOURCE, lifetime=900)
    assert isinstance(await door.knock(good), Admitted)
    claims = door.issuer.claims(RESOURCE)
    for fetches in (2, 3):
        for number in range(100):
            outcome = await door.knock(forge.sign(claims, door.issuer.key, kid=f"invented-{number}"))
            assert isinstance(outcome, Challenge)
            assert (outcome.status, outcome.reason) == (401, "token.signature")
        assert isinstance(await door.knock(good), Admitted)
        assert door.issuer.requests["/jwks"] == fetches
        door.clock.now += 30
    await door.guard.aclose()


async def test_while_the_issuer_is_down_an_unknown_key_is_not_called_invalid() -> None:
    """It may be a new key: 503 says so, while tokens under known keys pass."""
    door = Door()
    good = door.issuer.mint(RESOURCE)
    assert isinstance(await door.knock(good), Admitted)
    door.issuer.rotate()
    door.issuer.is_down = True
    for _ in range(3):
        outcome = await door.knock(door.issuer.mint(RESOURCE))
        assert isinstance(outcome, Challenge)
        assert outcome.status == 503
    assert isinstance(await door.knock(good), Admitted)
    await door.guard.aclose()
