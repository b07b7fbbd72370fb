"""RFC 9470: a call that needs a newer or another sign-in than its token rests on, and the way to it.

Spec: RFC 9470 §3
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.errors import AuthenticationInsufficient, PolicyError
from perhop.policy.policy_set import parse_policies
from perhop.rules.www_authenticate import parse_challenges
from tests.support.authorization_servers import (
    CALENDAR,
    PERSON,
    RunningServer,
    claims_of,
    running_server,
)
from tests.support.browsers import Browser, a_request, answer_in, redeem
from tests.support.forge import good_claims, sign
from tests.support.gateways import PERMIT_ALL, World, gateway
from tests.support.openid_providers import ANN_THERE, OpenIdProvider, Person, know
from tests.support.refreshing import refresh
from tests.support.sign_in_world import SignInWorld
from tests.support.upstreams import modern


def _forbid(name: str, wanted: str, condition: str, action: str = "call_tool") -> str:
    return (
        f'@id("{name}") {wanted} forbid (principal, action == MCP::Action::"{action}", resource) '
        f"unless {{ {condition} }};\n"
    )


FRESH = _forbid(
    "fresh",
    '@authentication("max_age=300")',
    "context.token has auth_time && context.token.auth_time > context.request.time - 300",
)
STRONG = _forbid(
    "strong",
    '@authentication("max_age=60, acr_values=gold silver")',
    'context.token has acr && context.token.acr == "gold"',
)
SILVER = _forbid(
    "silver", '@authentication("acr_values=silver bronze")', 'context.token has acr && context.token.acr == "silver"'
)
BRONZE = _forbid("bronze", '@authentication("acr_values=bronze")', "false")
CALL = modern("tools/call", {"name": "echo", "arguments": {}})
PLAIN = '@id("plain") forbid (principal, action, resource);\n'


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path, policies=(PERMIT_ALL, FRESH)) as running:
        yield running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def _call(world: World, **claims: Any) -> httpx2.Response:
    return await world.send(CALL, token=world.token(sub=PERSON, **claims))


def _challenge(answer: httpx2.Response) -> dict[str, str]:
    return dict(parse_challenges(answer.headers.get_list("www-authenticate"))[0].parameters)


async def test_a_call_that_needs_a_newer_sign_in_is_challenged(world: World) -> None:
    """401 with what is needed and the token's own scopes; the journal has a policy's no; a newer sign-in passes.

    Spec: RFC 9470 §3
    """
    now = int(world.clock())
    for claims in ({}, {"auth_time": now - 301}):
        refused = await _call(world, scope="calendar:read", **claims)
        assert refused.status_code == 401
        said = _challenge(refused)
        assert (said["error"], said["max_age"], said["scope"]) == (
            "insufficient_user_authentication",
            "300",
            "calendar:read",
        )
        assert "acr_values" not in said
        assert said["resource_metadata"]
        assert refused.json()["error"]["data"]["reason"] == "policy.denied"
    assert (await _call(world, auth_time=now - 200, acr="gold")).status_code == 200
    records = await world.records(4)
    assert [(each["event"], each.get("reason")) for each in records[:3]] == [
        ("call.refused", "policy.denied"),
        ("call.refused", "policy.denied"),
        ("call.permitted", None),
    ]
    assert records[1]["decision"] | {"policy_version": ""} == {
        "effect": "deny",
        "policies": ["fresh"],
        "policy_version": "",
    }
    assert "auth_time" not in records[0]["in"]
    assert (records[2]["in"]["auth_time"], records[2]["in"]["acr"]) == (now - 200, "gold")


async def test_the_strictest_counts_and_nobody_is_challenged_in_vain(world: World) -> None:
    """Several forbids: the shortest age, the ways that all take. No way at all, no person, no permit: 403.

    Spec: RFC 9470 §3
    """
    world.take_policies(PERMIT_ALL, FRESH, STRONG, SILVER)
    said = _challenge(await _call(world))
    assert (said["max_age"], said["acr_values"]) == ("60", "silver")
    for policies in ((PERMIT_ALL, FRESH, STRONG, BRONZE), (PERMIT_ALL, FRESH, PLAIN), (FRESH,)):
        world.take_policies(*policies)
        assert (await _call(world)).status_code == 403, policies
    world.take_policies(PERMIT_ALL, FRESH)
    assert (await world.send(CALL, token=world.token(sub="trip-planner"))).status_code == 403


async def test_a_time_of_the_future_is_no_sign_in(world: World) -> None:
    """A token whose `auth_time` is after its own `iat`, or is no time, is no token.

    Spec: RFC 9068 §2.2.1
    """
    now = int(world.clock())
    for odd in (now + 30, "now", -1, None, True):
        assert (await _call(world, iat=now, auth_time=odd)).status_code == 401
    for acr in ("", 5, None, "a" * 257):
        assert (await _call(world, iat=now, auth_time=now, acr=acr)).status_code == 401
    records = await world.records(9)
    assert {each["reason"] for each in records} == {"token.malformed"}


@pytest.mark.parametrize(
    "policy",
    [
        '@id("x") @authentication("max_age=-1") forbid (principal, action, resource);',
        '@id("x") @authentication("max_age=5, max_age=6") forbid (principal, action, resource);',
        '@id("x") @authentication("") forbid (principal, action, resource);',
        '@id("x") @authentication("acr_values=") forbid (principal, action, resource);',
        '@id("x") @authentication("acr_values=a\\"b") forbid (principal, action, resource);',
        '@id("x") @authentication("age=5") forbid (principal, action, resource);',
        '@id("x") @authentication("max_age=5") permit (principal, action, resource);',
    ],
    ids=["negative", "twice", "empty", "no-ways", "quote", "unknown", "permit"],
)
def test_an_annotation_that_says_no_sign_in_keeps_the_set_from_loading(policy: str) -> None:
    """Nothing is guessed: what a policy waits for is said exactly, and by a forbid."""
    with pytest.raises(PolicyError, match="authentication"):
        parse_policies({"p.cedar": policy})


async def test_tokens_say_when_the_person_signed_in(server: RunningServer) -> None:
    """The first token, a refreshed one, a child and a hop token say the same time; so does introspection.

    Spec: RFC 9470 §6.2
    """
    signed_in_at = int(server.clock())
    browser = Browser(server)
    consent = await browser.sign_in(a_request())
    server.clock.now += 100
    granted = await redeem(server, answer_in(await browser.allow(consent))["code"])
    assert claims_of(granted)["auth_time"] == signed_in_at
    assert "acr" not in claims_of(granted)
    server.clock.now += 1000
    refreshed = await refresh(server, granted.json()["refresh_token"])
    first = claims_of(refreshed)
    assert (first["auth_time"], first["iat"]) == (signed_in_at, signed_in_at + 1100)
    issuer = server.issuer
    claims = good_claims(issuer=issuer.url, audience=CALENDAR, now=int(server.clock()), scope="calendar:read")
    raw = sign(claims | {"sub": PERSON, "auth_time": signed_in_at, "acr": "gold"}, issuer.keyring.active)
    hop = server.hops().exchange(server.permit(raw))
    assert (hop.minted.draft.authentication.time, hop.minted.draft.authentication.acr) == (signed_in_at, "gold")
    child = await server.exchange(hop.minted.raw.reveal())
    assert (claims_of(child)["auth_time"], claims_of(child)["acr"]) == (signed_in_at, "gold")
    asked = {"token": hop.minted.raw.reveal(), **server.proof("calendar-server")}
    told = (await server.http.post("/introspect", data=asked)).json()
    assert (told["auth_time"], told["acr"]) == (signed_in_at, "gold")


async def test_the_gateways_own_exchange_challenges_too(server: RunningServer) -> None:
    """A forbid over `exchange` that a new sign-in takes away is the same challenge."""
    server.forbid(_forbid("hop", '@authentication("max_age=5")', "false", action="exchange"))
    claims = good_claims(issuer=server.issuer.url, audience=CALENDAR, now=int(server.clock()), scope="calendar:read")
    permit = server.permit(sign(claims | {"sub": PERSON}, server.issuer.keyring.active))
    with pytest.raises(AuthenticationInsufficient) as refused:
        server.hops().exchange(permit)
    assert (refused.value.max_age, refused.value.scopes, refused.value.policies) == (5, ("calendar:read",), ("hop",))


async def test_a_way_to_sign_in_is_the_providers(server: RunningServer) -> None:
    """`acr_values` go to the provider; what it says goes into tokens, and another way than those is an error.

    Spec: RFC 9470 §5
    """
    login = OpenIdProvider(now=server.clock, person=dict(ANN_THERE), claims={"acr": "gold"})
    know(server, login)
    person = Person(server)
    query = a_request(acr_values="platinum gold", max_age="60")
    consent = await person.follow(await person.signed_in(login, query))
    assert login.asked[-1]["acr_values"] == "platinum gold"
    code = answer_in(await person.allow(consent))["code"]
    claims = claims_of(await redeem(server, code))
    assert (claims["acr"], claims["auth_time"]) == ("gold", int(server.clock()))
    assert "code" in answer_in(await person.open(query))
    back = answer_in(await person.follow(await person.signed_in(login, a_request(acr_values="platinum"))))
    assert (back["error"], back["iss"]) == ("unmet_authentication_requirements", server.issuer.url)
    login.claims = {"acr": "two words"}
    back = answer_in(await person.follow(await person.signed_in(login, a_request(acr_values="two words"))))
    assert back["error"] == "unmet_authentication_requirements"


async def test_passwords_are_no_way_that_could_be_wanted(server: RunningServer) -> None:
    """Where no provider signs people in, nobody types a password for an `acr` that nobody can say.

    Spec: RFC 9470 §5
    """
    back = answer_in(await Browser(server).open(a_request(acr_values="gold")))
    assert back["error"] == "unmet_authentication_requirements"
    assert server.last_refusal()["reason"] == "client.authentication"


async def test_a_time_that_the_provider_does_not_say_is_not_in_tokens(server: RunningServer) -> None:
    """A provider may sign somebody in by a session of last week: without its word nobody claims that it was just now.

    Spec: RFC 9068 §2.2.1
    """
    login = OpenIdProvider(now=server.clock, person=dict(ANN_THERE))
    know(server, login)
    person = Person(server)
    consent = await person.follow(await person.signed_in(login))
    assert "max_age" not in login.asked[-1]
    claims = claims_of(await redeem(server, answer_in(await person.allow(consent))["code"]))
    assert "auth_time" not in claims


async def test_our_client_has_the_person_sign_in_again_once() -> None:
    """The challenge's age and ways go to `/authorize`, no scope is lost; a server that is not content is left alone.

    Spec: RFC 9470 §4
    """
    world = SignInWorld()
    sign_in = world.sign_in()
    assert (await world.call(sign_in)).status_code == 200
    world.stale = 'error="insufficient_user_authentication", max_age="300", acr_values="gold silver"'
    assert (await world.call(sign_in)).status_code == 401
    assert [(each.get("max_age"), each.get("acr_values"), each["scope"]) for each in world.visits] == [
        (None, None, "mcp:read"),
        ("300", "gold silver", "mcp:read"),
    ]
    assert (await world.call(sign_in)).status_code == 401
    assert len(world.visits) == 2
    world.clock.now += 300
    world.stale, world.content_after = 'error="insufficient_user_authentication", max_age="300"', len(world.visits)
    assert (await world.call(sign_in)).status_code == 200
    assert len(world.visits) == 3
    assert not any(each["grant_type"] == "refresh_token" for each in world.forms)
