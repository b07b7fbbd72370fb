"""RFC 7523 §3 and RFC 8725 §3.8: an issuer's keys come from where the configuration says, and count for it alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perhop.core.assertion import KeysAt, KeysHeld
from perhop.resource_server.trusted_issuer import MAX_STALENESS, UNKNOWN_KEY_COOLDOWN
from perhop.tokens.jwks import MAX_JWKS_BYTES, MAX_JWKS_KEYS, render_jwks
from perhop.tokens.keys import SigningKey
from tests.support.assertion_issuers import OTHER_IDP, World, a_world
from tests.support.authorization_servers import assert_refused, claims_of


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as made:
        yield made


async def test_keys_are_fetched_once_and_kept(world: World) -> None:
    """Many assertions cost one look; when the issuer stops answering its last keys are good, and not for ever."""
    for _ in range(3):
        claims_of(await world.ask(world.idp.id_jag()))
    assert world.idp.fetches == 1
    world.idp.is_up = False
    world.server.clock.now += MAX_STALENESS - 1
    later = int(world.server.clock.now)
    claims_of(await world.ask(world.idp.id_jag(iat=later, exp=later + 60)))
    world.server.clock.now += 2
    answer = await world.ask(world.idp.id_jag(iat=later, exp=later + 60))
    assert_refused(answer, "temporarily_unavailable", status=503)
    assert answer.headers["retry-after"] == "1"


async def test_a_new_key_is_looked_for_once_in_a_while(world: World) -> None:
    """A key that the issuer has changed to is found; invented names of keys cost one look in a cooldown."""
    claims_of(await world.ask(world.idp.id_jag()))
    world.idp.key = SigningKey.generate()
    claims_of(await world.ask(world.idp.id_jag()))
    for _ in range(5):
        assert_refused(await world.ask(world.idp.id_jag(key=SigningKey.generate())), "invalid_grant")
        assert world.server.last_refusal()["reason"] == "token.signature"
    assert world.idp.fetches == 2
    world.server.clock.now += UNKNOWN_KEY_COOLDOWN
    now = int(world.server.clock.now)
    assert_refused(await world.ask(world.idp.id_jag(key=SigningKey.generate(), iat=now)), "invalid_grant")
    assert world.idp.fetches == 3


async def test_a_key_set_is_bounded(world: World) -> None:
    """A set of the bound's size and number of keys is taken; one octet or one key more is not."""
    fits = json.dumps(render_jwks([world.idp.key.public()])).encode()
    fits += b" " * (MAX_JWKS_BYTES - len(fits))
    world.idp.body = fits
    claims_of(await world.ask(world.idp.id_jag()))
    other = world.issuers[OTHER_IDP]
    other.body = fits + b" "
    assert_refused(await world.ask(other.id_jag()), "temporarily_unavailable", status=503)
    world.server.clock.now += 10
    key = world.idp.key.public().as_jwk()
    many = [other.key.public().as_jwk(), *({**key, "kid": f"k{n}"} for n in range(MAX_JWKS_KEYS))]
    other.body = json.dumps({"keys": many}).encode()
    assert_refused(await world.ask(other.id_jag()), "temporarily_unavailable", status=503)
    world.server.clock.now += 10
    other.body = json.dumps({"keys": many[:MAX_JWKS_KEYS]}).encode()
    claims_of(await world.ask(other.id_jag()))


async def test_an_issuer_that_gives_a_secret_key_is_not_believed(world: World) -> None:
    """A set that holds a symmetric or private key is refused whole."""
    good = world.idp.key.public().as_jwk()
    world.idp.body = json.dumps({"keys": [good, {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}]}).encode()
    assert_refused(await world.ask(world.idp.id_jag()), "temporarily_unavailable", status=503)


async def test_another_definition_begins_without_keys(world: World) -> None:
    """An issuer whose keys are said to be elsewhere is not believed by the old ones; held keys are asked of nobody."""
    claims_of(await world.ask(world.idp.id_jag()))
    world.trust("staff", keys=KeysAt(f"{OTHER_IDP}/keys"))
    assert_refused(await world.ask(world.idp.id_jag()), "invalid_grant")
    assert world.server.last_refusal()["reason"] == "token.signature"
    claims_of(await world.ask(world.idp.id_jag(key=world.issuers[OTHER_IDP].key)))
    fetches = world.idp.fetches
    world.trust("staff", keys=KeysHeld((world.idp.key.public().as_jwk(),)))
    claims_of(await world.ask(world.idp.id_jag()))
    assert_refused(await world.ask(world.idp.id_jag(key=SigningKey.generate())), "invalid_grant")
    assert world.idp.fetches == fetches
    assert world.server.records("token.issued")[-1]["about"]["issuer"] == "staff"
