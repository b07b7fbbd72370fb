"""RFC 7523 §2.1 for workloads: a platform says which workload speaks, and a rule of ours what that gives.

Spec: RFC 7523 §3
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perhop.tokens.keys import SigningKey
from tests.support.assertion_issuers import (
    CLUSTER,
    JWT_BEARER,
    NOTES,
    OTHER_CLUSTER,
    WORKLOAD,
    World,
    a_world,
)
from tests.support.authorization_servers import CALENDAR, ISSUER, NOW, SECRET, assert_refused, claims_in, claims_of
from tests.support.forge import ABSENT, good_claims, sign


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as made:
        yield made


def _refused_for(world: World, answer: Any, reason: str, error: str = "invalid_grant") -> None:
    assert_refused(answer, error)
    assert world.server.last_refusal()["reason"] == reason


async def test_a_workload_is_the_client_of_its_rule(world: World, subtests: pytest.Subtests) -> None:
    """Without client id or secret a workload gets the token that its rule gives, however its platform writes types."""
    for typ in (ABSENT, "JWT", "JOSE"):
        with subtests.test(typ=typ):
            claims = claims_of(await world.ask_alone(world.cluster.workload_token(typ=typ)))
            assert (claims["sub"], claims["client_id"], claims["aud"]) == ("trip-runner", "trip-runner", CALENDAR)
            assert claims["scope"] == "calendar:read"
    token = world.cluster.workload_token(aud=ISSUER, iat=ABSENT, nbf=ABSENT, jti=ABSENT)
    claims_of(await world.ask_alone(token, client_id="trip-runner"))


async def test_a_record_says_which_workload_spoke(world: World) -> None:
    """The record of the token names issuer, workload and the token's id at the platform, and nothing more of it."""
    token = world.cluster.workload_token()
    claims_of(await world.ask_alone(token))
    [record] = world.server.records("token.issued")
    assert record["about"] == {
        "grant": JWT_BEARER,
        "issuer": "cluster",
        "workload": WORKLOAD,
        "assertion": "one-for-all-requests",
    }
    assert_refused(await world.ask_alone(token, scope="calendar:write"), "invalid_scope")
    refusal = world.server.last_refusal()
    assert (refusal["about"], refusal["client"]) == (record["about"], "trip-runner")
    assert "in" not in refusal
    assert all(part not in str(world.server.records()) for part in token.split("."))


async def test_a_rule_bounds_what_its_workload_gets(world: World) -> None:
    """A resource or scope that the client reaches, and the rule does not give, is not had by the workload."""
    token = world.cluster.workload_token()
    assert_refused(await world.ask_alone(token, resource=NOTES), "invalid_target")
    assert_refused(await world.ask_alone(token, scope="calendar:write"), "invalid_scope")
    other = world.cluster.workload_token(sub="system:serviceaccount:prod:note-runner")
    claims = claims_of(await world.ask_alone(other, resource=NOTES))
    assert (claims["sub"], claims["scope"]) == ("note-runner", "notes:read")
    await world.ask_alone(token, resource="")
    assert world.server.last_refusal()["reason"] == "audience.missing"


async def test_a_request_may_name_its_client(world: World) -> None:
    """Of two rules that fit, the one that leads to the named client counts; a client that none leads to is refused."""
    token = world.cluster.workload_token()
    assert claims_of(await world.ask_alone(token, client_id="note-runner"))["client_id"] == "note-runner"
    for stranger in ("poster", "trip-planner", "nobody"):
        _refused_for(world, await world.ask_alone(token, client_id=stranger), "presenter.mismatch")


async def test_a_client_that_proves_itself_is_the_rules(world: World) -> None:
    """Client authentication beside the assertion must hold, and be that of the client to whom the rule leads."""
    token = world.cluster.workload_token()
    secret = {"client_id": "poster", "client_secret": SECRET}
    _refused_for(world, await world.ask_alone(token, **secret), "presenter.mismatch")
    wrong = {"client_id": "trip-runner", "client_secret": SECRET}
    assert_refused(await world.ask_alone(token, **wrong), "invalid_client", status=401)
    basic = world.server.issuer.registry.clients["poster"].authentication
    world.server.change_client("trip-runner", authentication=basic)
    claims_of(await world.ask_alone(token, client_id="trip-runner", client_secret=SECRET))


async def test_a_workloads_token_is_good_until_it_expires(world: World) -> None:
    """A platform leaves a workload one token, which it shows again; where `single_use` is set, once."""
    token = world.cluster.workload_token()
    for _ in range(2):
        claims_of(await world.ask_alone(token))
    world.trust("cluster", single_use=True)
    claims_of(await world.ask_alone(token))
    _refused_for(world, await world.ask_alone(token), "assertion.replayed")
    _refused_for(world, await world.ask_alone(world.cluster.workload_token(jti=ABSENT)), "token.malformed")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"sub": "system:serviceaccount:dev:trip-runner"}, "presenter.mismatch"),
    ({"sub": "system:serviceaccount:prod:a:b"}, "presenter.mismatch"),
    ({"sub": "system:serviceaccount:prod:"}, "presenter.mismatch"),
    ({"sub": "xsystem:serviceaccount:prod:trip-runner"}, "presenter.mismatch"),
    ({"sub": "spiffe://other.example/runner"}, "presenter.mismatch"),
    ({"sub": "trip-runner"}, "presenter.mismatch"),
    ({"sub": ABSENT}, "token.malformed"),
    ({"aud": ["https://kubernetes.default.svc"]}, "audience.mismatch"),
    ({"aud": [f"{ISSUER}/token"]}, "audience.mismatch"),
    ({"aud": [ISSUER, "https://kubernetes.default.svc"]}, "audience.multiple"),
    ({"aud": ABSENT}, "audience.missing"),
    ({"iss": OTHER_CLUSTER}, "token.signature"),
    ({"iss": f"{CLUSTER}/"}, "token.issuer"),
    ({"iss": ABSENT}, "token.malformed"),
    ({"exp": ABSENT}, "token.malformed"),
    ({"exp": NOW}, "token.expired"),
    ({"iat": ABSENT, "nbf": ABSENT, "exp": NOW + 3661}, "token.lifetime"),
    ({"exp": NOW + 3541}, "token.lifetime"),
    ({"nbf": NOW + 61}, "token.lifetime"),
    ({"iat": NOW + 61}, "token.lifetime"),
    ({"jti": ["x"]}, "token.malformed"),
    ({"cnf": {"x5t#S256": "x"}}, "sender.mismatch"),
]


async def test_a_token_good_once_is_older_than_the_epoch(world: World, subtests: pytest.Subtests) -> None:
    """After a database came back, what is good once and may have been used before it is not taken; a later one is."""
    world.trust("cluster", single_use=True)
    await world.server.issuer.epoch.begin(now=NOW)
    for name, changes in {"made before": {"iat": NOW}, "not saying when": {"iat": ABSENT, "nbf": ABSENT}}.items():
        with subtests.test(name):
            token = world.cluster.workload_token(jti=name, **changes)
            _refused_for(world, await world.ask_alone(token), "assertion.replayed")
    world.server.clock.now += 2
    claims_of(await world.ask_alone(world.cluster.workload_token(jti="made after", iat=NOW + 1)))


async def test_a_workload_that_no_rule_means_gets_nothing(world: World, subtests: pytest.Subtests) -> None:
    """Another subject, trust domain, audience, issuer or time is `invalid_grant`, and nobody is told which."""
    for changes, reason in BAD:
        with subtests.test(changes=changes):
            answer = await world.ask_alone(world.cluster.workload_token(**changes))
            _refused_for(world, answer, reason)
            assert answer.json()["error_description"] == "the assertion is not valid"
    assert world.server.records("token.issued") == []


async def test_a_claim_of_a_rule_must_have_its_value(world: World) -> None:
    """A claim that is missing, or of another value or type, leaves the rule to those that have it."""
    for value in ({"namespace": "dev"}, {"namespace": ["prod"]}, {}, "prod", ABSENT):
        token = world.cluster.workload_token(**{"kubernetes.io": value})
        _refused_for(world, await world.ask_alone(token, client_id="trip-runner"), "presenter.mismatch")


async def test_an_issuer_asserts_its_own_kind_only(world: World) -> None:
    """An identity provider's ID token names no workload, and a platform asserts no person."""
    id_token = world.idp.workload_token(sub=WORKLOAD)
    _refused_for(world, await world.ask_alone(id_token), "token.type")
    person = world.cluster.id_jag()
    _refused_for(world, await world.ask(person), "token.type")


async def test_a_token_of_another_type_is_no_workloads(world: World, subtests: pytest.Subtests) -> None:
    """What is made for another use is refused by its type."""
    for typ in ("at+jwt", "wit+jwt", "dpop+jwt", "client-authentication+jwt", "jwt", "application/jwt"):
        with subtests.test(typ=typ):
            _refused_for(world, await world.ask_alone(world.cluster.workload_token(typ=typ)), "token.type")


async def test_other_tokens_are_no_workloads(world: World) -> None:
    """A token of our own, a client's assertion and what is no token are refused as assertions."""
    token = sign(good_claims(issuer=ISSUER, audience=ISSUER, now=NOW), world.server.keys.issuer, typ="JWT")
    _refused_for(world, await world.ask_alone(token), "token.issuer")
    client = sign(claims_in(world.server.assertion("trip-planner", world.server.keys.planner)), SigningKey.generate())
    _refused_for(world, await world.ask_alone(client), "token.type")
    _refused_for(world, await world.ask_alone("no-token"), "token.malformed")


async def test_a_workloads_token_proves_no_client_otherwise(world: World) -> None:
    """As a client assertion, as a subject token and as an access token a workload's token is worth nothing."""
    token = world.cluster.workload_token()
    as_client = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": token,
    }
    assert_refused(await world.server.ask(**as_client, resource=CALENDAR), "invalid_client", status=401)
    assert_refused(await world.server.exchange(token), "invalid_request")
    answer = await world.server.http.post("/introspect", data={"token": token, **world.server.proof("calendar-server")})
    assert answer.json() == {"active": False}


async def test_where_no_workload_is_trusted_an_assertion_proves_nobody(world: World) -> None:
    """Without an issuer of workloads the client must authenticate, as for every grant."""
    trusted = world.server.issuer.registry.trusted_issuers
    world.server.change_registry(trusted_issuers={"staff": trusted["staff"]})
    assert_refused(await world.ask_alone(world.cluster.workload_token()), "invalid_client", status=401)


async def test_a_client_out_of_standing_gets_nothing_by_a_workload(world: World) -> None:
    """Disabled clients and issuers stay so whoever asserts, and so do clients without the grant."""
    token, standing = world.cluster.workload_token(), world.server.issuer.standing
    await standing.disable("client", "trip-runner", why="", now=NOW)
    assert_refused(await world.ask_alone(token), "invalid_client", status=401)
    await standing.enable("client", "trip-runner", now=NOW)
    await standing.disable("issuer", "cluster", why="", now=NOW)
    _refused_for(world, await world.ask_alone(token), "token.issuer")
    await standing.enable("issuer", "cluster", now=NOW)
    world.server.change_client("trip-runner", grants=frozenset())
    assert_refused(await world.ask_alone(token), "unauthorized_client")


async def test_metadata_names_the_grant_where_somebody_is_trusted(world: World) -> None:
    """The grant and its profile are named while an issuer is trusted for them, and not otherwise."""

    async def told() -> tuple[bool, Any]:
        document = (await world.server.http.get("/.well-known/oauth-authorization-server")).json()
        profiles = document.get("authorization_grant_profiles_supported")
        return JWT_BEARER in document["grant_types_supported"], profiles

    trusted = world.server.issuer.registry.trusted_issuers
    assert await told() == (True, ["urn:ietf:params:oauth:grant-profile:id-jag"])
    world.server.change_registry(trusted_issuers={"cluster": trusted["cluster"]})
    assert await told() == (True, None)
    world.server.change_registry(trusted_issuers={})
    assert await told() == (False, None)
