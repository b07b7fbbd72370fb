"""ID-JAG: an identity provider says that a client may act for a person here, once, at one resource.

Spec: draft-ietf-oauth-identity-assertion-authz-grant
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.store import Account
from perhop.tokens.keys import SigningKey
from perhop.tokens.parse import MAX_TOKEN_BYTES
from tests.support.assertion_issuers import IDP, JWT_BEARER, NOTES, OTHER_IDP, World, a_world
from tests.support.authorization_servers import CALENDAR, ISSUER, NOW, SECRET, assert_refused, claims_in, claims_of
from tests.support.forge import ABSENT, good_claims, sign

RACERS = 50


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as made:
        yield made


def _refused_for(world: World, answer: Any, reason: str, error: str = "invalid_grant") -> None:
    assert_refused(answer, error)
    assert world.server.last_refusal()["reason"] == reason


async def test_an_assertion_gives_one_token_for_its_resource(world: World) -> None:
    """The token is the person's, for the asserted resource alone, in the client's name, and no refresh token comes."""
    answer = await world.ask(world.idp.id_jag())
    claims = claims_of(answer)
    assert claims["aud"] == CALENDAR
    assert (claims["client_id"], claims["scope"], claims["tenant"]) == ("poster", "calendar:read", "acme")
    assert claims["sub"].startswith("user:")
    assert "refresh_token" not in answer.json()
    assert {"act", "cnf", "agent"} & claims.keys() == set()


async def test_a_person_is_known_by_issuer_and_subject(world: World) -> None:
    """The same subject of the same issuer is the same person; of another issuer, another."""
    first, again = [claims_of(await world.ask(world.idp.id_jag()))["sub"] for _ in range(2)]
    other = claims_of(await world.ask(world.issuers[OTHER_IDP].id_jag()))["sub"]
    assert first == again != other


async def test_the_record_names_issuer_and_person_and_nothing_of_the_assertion(world: World) -> None:
    """The record of the token has the issuer's name, the assertion's id and our name for the person."""
    assertion = world.idp.id_jag(jti="from-the-idp")
    person = claims_of(await world.ask(assertion))["sub"]
    [record] = world.server.records("token.issued")
    assert record["about"] == {"grant": JWT_BEARER, "issuer": "staff", "assertion": "from-the-idp"}
    assert record["out"]["sub"] == person
    [added] = world.server.records("account.changed")
    assert added["about"]["account"] == person
    assert added["about"]["issuer"] == "staff"
    whole = str(world.server.records())
    assert all(part not in whole for part in assertion.split("."))


async def test_the_audience_may_be_a_list_of_one(world: World) -> None:
    """The draft lets `aud` be a list of one; so may `resource` be."""
    claims = claims_of(await world.ask(world.idp.id_jag(aud=[ISSUER], resource=[CALENDAR])))
    assert claims["aud"] == CALENDAR


BAD: list[tuple[dict[str, Any], str]] = [
    ({"aud": "https://other.example.com"}, "audience.mismatch"),
    ({"aud": f"{ISSUER}/"}, "audience.mismatch"),
    ({"aud": f"{ISSUER}/token"}, "audience.mismatch"),
    ({"aud": CALENDAR}, "audience.mismatch"),
    ({"aud": [ISSUER, "https://other.example.com"]}, "audience.multiple"),
    ({"aud": [ISSUER, ISSUER]}, "audience.multiple"),
    ({"aud": []}, "audience.missing"),
    ({"aud": ABSENT}, "audience.missing"),
    ({"aud": 7}, "token.malformed"),
    ({"iss": "https://idp.example.com/"}, "token.issuer"),
    ({"iss": "https://unknown.example.com"}, "token.issuer"),
    ({"iss": ISSUER}, "token.issuer"),
    ({"iss": OTHER_IDP}, "token.signature"),
    ({"iss": ABSENT}, "token.malformed"),
    ({"iss": [IDP]}, "token.malformed"),
    ({"sub": ABSENT}, "token.malformed"),
    ({"sub": ""}, "token.malformed"),
    ({"client_id": "second"}, "presenter.mismatch"),
    ({"client_id": ABSENT}, "presenter.mismatch"),
    ({"client_id": ["poster"]}, "presenter.mismatch"),
    ({"jti": ABSENT}, "token.malformed"),
    ({"jti": 7}, "token.malformed"),
    ({"jti": "x" * 257}, "token.malformed"),
    ({"iat": ABSENT}, "token.malformed"),
    ({"exp": ABSENT}, "token.malformed"),
    ({"exp": str(NOW + 60)}, "token.malformed"),
    ({"iat": NOW - 300, "exp": NOW}, "token.expired"),
    ({"iat": NOW - 300, "exp": NOW - 1}, "token.expired"),
    ({"exp": NOW - 1, "iat": NOW}, "token.malformed"),
    ({"iat": NOW + 61}, "token.lifetime"),
    ({"nbf": NOW + 61}, "token.lifetime"),
    ({"exp": NOW + 3601}, "token.lifetime"),
    ({"iat": NOW - 3600, "exp": NOW + 1}, "token.lifetime"),
    ({"resource": ABSENT}, "audience.missing"),
    ({"resource": [CALENDAR, NOTES]}, "audience.multiple"),
    ({"resource": 7}, "token.malformed"),
    ({"scope": ["calendar:read"]}, "token.malformed"),
    ({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, "sender.mismatch"),
    ({"act": {"sub": "another-agent"}}, "token.malformed"),
    ({"authorization_details": [{"type": "payment", "limit": 5}]}, "token.malformed"),
    ({"tenant": "acme"}, "presenter.mismatch"),
    ({"aud_tenant": "other"}, "audience.mismatch"),
]


async def test_what_the_assertion_does_not_say_is_not_given(world: World, subtests: pytest.Subtests) -> None:
    """Another audience, issuer, client, time or resource, or a claim that we cannot honour, is `invalid_grant`."""
    for changes, reason in BAD:
        with subtests.test(changes=changes):
            _refused_for(world, await world.ask(world.idp.id_jag(**changes)), reason)
    assert world.server.records("token.issued") == []


async def test_a_token_of_another_type_is_no_identity_assertion(world: World, subtests: pytest.Subtests) -> None:
    """An ID token, access token, client assertion or logout token of the provider is refused by its type."""
    for typ in ("JWT", ABSENT, "at+jwt", "client-authentication+jwt", "OAUTH-ID-JAG+JWT", "logout+jwt"):
        with subtests.test(typ=typ):
            _refused_for(world, await world.ask(world.idp.id_jag(typ=typ)), "token.type")


async def test_a_token_of_ours_is_no_assertion(world: World) -> None:
    """An access token of our own, and one that pretends to be an assertion of ours, are refused."""
    token = (await world.ask(world.idp.id_jag())).json()["access_token"]
    _refused_for(world, await world.ask(token), "token.type")
    forged = sign(
        good_claims(issuer=ISSUER, audience=ISSUER, now=NOW), world.server.keys.issuer, typ="oauth-id-jag+jwt"
    )
    _refused_for(world, await world.ask(forged), "token.issuer")


async def test_what_is_no_token_is_no_assertion(world: World, subtests: pytest.Subtests) -> None:
    """What is no compact JWS, or longer than a token may be, is refused as malformed; at the bound it is read."""
    for assertion in ("x", "a.b.c", "e30.e30.", _of_length(world, MAX_TOKEN_BYTES + 1)):
        with subtests.test(length=len(assertion)):
            _refused_for(world, await world.ask(assertion), "token.malformed")
    claims_of(await world.ask(_of_length(world, MAX_TOKEN_BYTES)))


def _of_length(world: World, length: int) -> str:
    """A good assertion that is exactly so long. Base64url has no text of some lengths, so the header is padded, too."""
    for head, tail in itertools.product(range(3), range(3)):
        header = {"padding": "x" * head}
        rest = length - len(world.idp.id_jag(header=header, padding="x" * tail))
        if rest % 4 == 0:
            return world.idp.id_jag(header=header, padding="x" * (tail + rest // 4 * 3))
    raise AssertionError(f"no assertion has {length} characters")


async def test_an_assertion_is_required(world: World) -> None:
    """Without `assertion` the request is malformed."""
    answer = await world.server.ask(grant_type=JWT_BEARER, client_id="poster", client_secret=SECRET)
    assert_refused(answer, "invalid_request")


async def test_an_assertion_is_good_once(world: World) -> None:
    """A second use is refused with its own reason; the same id of another issuer is another assertion."""
    assertion = world.idp.id_jag(jti="same")
    claims_of(await world.ask(assertion))
    _refused_for(world, await world.ask(assertion), "assertion.replayed")
    _refused_for(world, await world.ask(world.idp.id_jag(jti="same", sub="another")), "assertion.replayed")
    claims_of(await world.ask(world.issuers[OTHER_IDP].id_jag(jti="same")))


async def test_a_refusal_does_not_spend_an_assertion(world: World) -> None:
    """A client that asked for too much may ask again for less."""
    assertion = world.idp.id_jag()
    assert_refused(await world.ask(assertion, scope="calendar:write"), "invalid_scope")
    claims_of(await world.ask(assertion, scope="calendar:read"))


async def test_of_fifty_uses_at_once_one_wins(world: World) -> None:
    """Fifty requests with one assertion get one token."""
    assertion = world.idp.id_jag()
    answers = await asyncio.gather(*(world.ask(assertion) for _ in range(RACERS)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * (RACERS - 1)
    assert len(world.server.records("token.issued")) == 1


async def test_a_client_must_prove_itself(world: World) -> None:
    """Without a proof, or with a wrong one, the client is not authenticated; a public client may bring none."""
    assertion = world.idp.id_jag()
    assert_refused(await world.ask(assertion, client_secret="x" * 40), "invalid_client", status=401)
    alone = {"grant_type": JWT_BEARER, "assertion": assertion}
    assert_refused(await world.server.ask(**alone), "invalid_client", status=401)
    assert_refused(await world.server.ask(**alone, client_id="poster"), "invalid_client", status=401)
    public = world.idp.id_jag(client_id="trip-runner")
    answer = await world.server.ask(grant_type=JWT_BEARER, assertion=public, client_id="trip-runner")
    assert_refused(answer, "unauthorized_client")
    claims_of(await world.ask(assertion))


async def test_an_issuer_speaks_for_its_clients_only(world: World) -> None:
    """A client that the issuer is not trusted for, or without the grant, gets nothing by its assertion."""
    foreign = world.idp.id_jag(client_id="unnamed")
    _refused_for(world, await world.ask(foreign, client_id="unnamed"), "presenter.mismatch")
    other = world.issuers[OTHER_IDP].id_jag(client_id="second")
    _refused_for(world, await world.ask(other, client_id="second"), "presenter.mismatch")
    world.server.change_client("poster", grants=frozenset())
    assert_refused(await world.ask(world.idp.id_jag()), "unauthorized_client")


async def test_a_request_names_the_asserted_resource_or_none(world: World) -> None:
    """The request may repeat the resource; another one is refused, and two are."""
    claims_of(await world.ask(world.idp.id_jag(), resource=CALENDAR))
    _refused_for(world, await world.ask(world.idp.id_jag(), resource=NOTES), "audience.mismatch")
    body = f"grant_type={JWT_BEARER}&client_id=poster&client_secret={SECRET}&assertion={world.idp.id_jag()}"
    twice = f"{body}&resource={CALENDAR}&resource={CALENDAR}"
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert_refused(await world.server.http.post("/token", content=twice, headers=form), "invalid_target")


async def test_scopes_are_what_both_allow(world: World) -> None:
    """What the provider says and the client reaches is given, less if less is asked; nothing in common is a refusal."""
    both = world.idp.id_jag(scope="calendar:read calendar:write mail:send")
    assert claims_of(await world.ask(both))["scope"] == "calendar:read calendar:write"
    unsaid = world.idp.id_jag(scope=ABSENT)
    assert claims_of(await world.ask(unsaid))["scope"] == "calendar:read calendar:write"
    assert_refused(await world.ask(world.idp.id_jag(scope="mail:send")), "invalid_scope")
    assert_refused(await world.ask(world.idp.id_jag(scope="")), "invalid_scope")


async def test_a_tenant_is_the_one_that_is_trusted(world: World) -> None:
    """Of an issuer with tenants only the named one counts, and none is not it."""
    world.trust("staff", tenant="acme")
    claims_of(await world.ask(world.idp.id_jag(tenant="acme", aud_tenant="acme")))
    _refused_for(world, await world.ask(world.idp.id_jag(tenant="evil")), "presenter.mismatch")
    _refused_for(world, await world.ask(world.idp.id_jag()), "presenter.mismatch")


async def test_a_revocation_stops_assertions_made_before_it(world: World) -> None:
    """What was revoked for a person stays revoked for assertions that were made before, and not for later ones."""
    person = claims_of(await world.ask(world.idp.id_jag()))["sub"]
    await world.server.issuer.revoker.revoke(RevokedObject.SUBJECT, person, why="left", by="ann")
    _refused_for(world, await world.ask(world.idp.id_jag()), "token.revoked")
    world.server.clock.now += 2
    claims_of(await world.ask(world.idp.id_jag(iat=NOW + 2)))


async def test_a_disabled_person_gets_nothing(world: World) -> None:
    """Where the person has an account here that is disabled, no provider gets it a token."""
    person = claims_of(await world.ask(world.idp.id_jag()))["sub"]
    account = Account(email="bea@example.com", subject=person, password_hash="x", disabled=True)
    await world.server.stores.accounts.add(account)
    _refused_for(world, await world.ask(world.idp.id_jag()), "presenter.mismatch")


async def test_who_is_known_by_assertions_only_can_be_disabled(world: World) -> None:
    """Whom only assertions have named has an account, too, which can be disabled."""
    person = claims_of(await world.ask(world.idp.id_jag()))["sub"]
    await world.server.stores.federated_accounts.disable(person)
    _refused_for(world, await world.ask(world.idp.id_jag()), "presenter.mismatch")


async def test_a_disabled_issuer_is_not_believed(world: World) -> None:
    """A disabled issuer, and one whose owner is, gets nobody a token."""
    standing = world.server.issuer.standing
    await standing.disable("issuer", "staff", why="leaked key", now=NOW)
    _refused_for(world, await world.ask(world.idp.id_jag()), "token.issuer")
    await standing.enable("issuer", "staff", now=NOW)
    world.trust("staff", owner="nobody")
    assert (await world.ask(world.idp.id_jag())).status_code == 503
    assert world.server.last_refusal()["reason"] == "owner.missing"


async def test_policy_may_forbid_the_token(world: World) -> None:
    """Policy is asked as for every token: a `forbid` on `issue` refuses it."""
    world.server.forbid('@id("no") forbid(principal, action == MCP::Action::"issue", resource);')
    assert_refused(await world.ask(world.idp.id_jag()), "invalid_target")
    assert world.server.last_refusal()["reason"] == "policy.denied"


async def test_a_key_that_the_assertion_points_to_is_not_looked_for(world: World, subtests: pytest.Subtests) -> None:
    """A key in the header, or behind a URL there, counts for nothing; nor does another issuer's of the same name."""
    mine = SigningKey.generate()
    offered = {"jwk": mine.public().as_jwk(), "jku": "https://evil.example.com/keys", "x5c": ["MIIB"]}
    for name, value in offered.items():
        with subtests.test(parameter=name):
            forged = sign(_claims(world), mine, typ="oauth-id-jag+jwt", **{name: value})
            _refused_for(world, await world.ask(forged), "token.malformed")
    named = sign(_claims(world), mine, typ="oauth-id-jag+jwt", kid=world.idp.key.kid)
    _refused_for(world, await world.ask(named), "token.signature")
    other = sign(_claims(world), world.issuers[OTHER_IDP].key, typ="oauth-id-jag+jwt")
    _refused_for(world, await world.ask(other), "token.signature")


def _claims(world: World) -> dict[str, Any]:
    """The claims of a good assertion of the provider."""
    return claims_in(world.idp.id_jag())
