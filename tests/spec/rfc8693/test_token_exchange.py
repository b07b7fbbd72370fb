"""RFC 8693 as Perhop narrows it: who may exchange what for what, and what the child says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perhop.authorization_server.revocation import RevokedObject
from perhop.core.resource import Hop
from perhop.tokens.keys import SigningKey
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    NOTES,
    NOW,
    ROOMS,
    ROOMS_SERVER,
    RunningServer,
    assert_refused,
    claims_in,
    claims_of,
    running_server,
)
from tests.support.forge import ABSENT, good_claims, sign

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def test_the_child_says_who_acts_for_whom(server: RunningServer) -> None:
    """Subject, agent and transaction are copied, the presenter is the actor, the hop goes up by one."""
    parent = server.forged(sub="user:ann", client_id="desk-app", agent="desk-app", hop=2, scope="calendar:read")
    answer = await server.exchange(parent)
    child = claims_of(answer)
    assert (child["sub"], child["agent"], child["txn"]) == ("user:ann", "desk-app", "txn-1")
    assert (child["client_id"], child["aud"], child["hop"]) == ("calendar-server", ROOMS, 3)
    assert child["act"] == {"sub": "calendar-server", "act": {"sub": "desk-app"}}
    assert child["scope"] == "rooms:read"
    assert "tenant" not in child
    assert answer.json()["issued_token_type"] == ACCESS_TOKEN
    assert answer.json()["token_type"] == "Bearer"
    assert answer.headers["cache-control"] == "no-store"


async def test_the_parents_chain_goes_inside(server: RunningServer) -> None:
    """An `act` of the parent is nested, not repeated; a client that is the subject is not written before it."""
    act = {"sub": "gateway:calendar"}
    child = claims_of(await server.exchange(server.forged(sub="trip-planner", act=act)))
    assert child["act"] == {"sub": "calendar-server", "act": {"sub": "gateway:calendar"}}
    alone = claims_of(await server.exchange(server.forged(sub="trip-planner", client_id="trip-planner")))
    assert alone["act"] == {"sub": "calendar-server"}


async def test_without_agent_the_client_is_the_agent(server: RunningServer) -> None:
    """A parent without `agent` has its `client_id` as agent, and the child says so."""
    assert claims_of(await server.exchange(server.forged()))["agent"] == "trip-planner"


async def test_a_transaction_begins_where_there_is_none(server: RunningServer) -> None:
    """A parent without `txn` (a key taken over) gets children of a new transaction."""
    child = claims_of(await server.exchange(server.forged(txn=ABSENT, hop=ABSENT)))
    assert child["txn"]
    assert child["hop"] == 2


async def test_nothing_is_taken_from_the_request(server: RunningServer) -> None:
    """`txn`, `sub`, `act` and `agent` as parameters are ignored."""
    child = claims_of(await server.exchange(server.forged(), txn="mine", sub="user:bob", act="{}", agent="x"))
    assert (child["txn"], child["sub"], child["agent"]) == ("txn-1", "user:ann", "trip-planner")


@pytest.mark.parametrize("left", [1, 59, 300])
async def test_a_child_does_not_outlive_its_parent(server: RunningServer, left: int) -> None:
    """The child ends when its parent does."""
    child = claims_of(await server.exchange(server.forged(exp=NOW + left)))
    assert child["exp"] == NOW + left


async def test_a_child_lives_no_longer_than_its_own_resource_allows(server: RunningServer) -> None:
    """A parent of 900 seconds gets a child of 300, and of 60 for a resource of high risk."""
    assert claims_of(await server.exchange(server.forged(exp=NOW + 900)))["exp"] == NOW + 300
    parent = sign(good_claims(issuer=server.issuer.url, audience=ROOMS_SERVER, scope="rooms:read"), server.keys.issuer)
    child = claims_of(await server.exchange(parent, by="rooms-server", resource=NOTES))
    assert child["exp"] == NOW + 60


BAD_SUBJECT_TOKENS: list[tuple[dict[str, Any], str]] = [
    ({"iat": NOW - 300, "exp": NOW}, "token.expired"),
    ({"iat": NOW - 300, "exp": NOW - 1}, "token.expired"),
    ({"exp": NOW + 901}, "token.lifetime"),
    ({"iat": NOW + 61}, "token.lifetime"),
    ({"iss": "https://other.example.com"}, "token.issuer"),
    ({"aud": ABSENT}, "audience.missing"),
    ({"aud": [CALENDAR_SERVER]}, "audience.multiple"),
    ({"aud": [CALENDAR_SERVER, ROOMS]}, "audience.multiple"),
    ({"aud": CALENDAR}, "presenter.mismatch"),
    ({"aud": ROOMS_SERVER}, "presenter.mismatch"),
    ({"aud": "https://auth.example.com"}, "presenter.mismatch"),
    ({"aud": "calendar-server"}, "presenter.mismatch"),
    ({"jti": ABSENT}, "token.malformed"),
    ({"client_id": ABSENT}, "token.malformed"),
    ({"cnf": {"jkt": "x" * 43}}, "sender.mismatch"),
    ({"authorization_details": [{"type": "agent_task", "id": "t"}]}, "task.outside"),
    ({"authorization_details": [{"type": "mcp_call", "method": "tools/call"}]}, "token.malformed"),
    ({"may_act": {"sub": "rooms-server"}}, "presenter.mismatch"),
    ({"may_act": {"sub": ["rooms-server", "trip-planner"]}}, "presenter.mismatch"),
    ({"may_act": {"sub": "calendar-server", "iss": "https://other.example.com"}}, "presenter.mismatch"),
    ({"client_id": "stranger"}, "client.disabled"),
    ({"agent": "stranger"}, "client.disabled"),
]


async def test_a_bad_subject_token_is_an_invalid_request(server: RunningServer, subtests: pytest.Subtests) -> None:
    """Whatever is wrong with the subject token, the client hears `invalid_request`; the journal has the reason."""
    for changes, reason in BAD_SUBJECT_TOKENS:
        with subtests.test(changes=changes):
            assert_refused(await server.exchange(server.forged(**changes)), "invalid_request")
            assert server.last_refusal()["reason"] == reason
            assert server.records("token.issued") == []


async def test_a_subject_token_needs_our_signature(server: RunningServer) -> None:
    """Another key, a client's own key, a cut signature or garbage: refused, and only a digest is recorded."""
    claims = good_claims(issuer=server.issuer.url, audience=CALENDAR_SERVER)
    for key in (SigningKey.generate(), server.keys.calendar_server):
        assert_refused(await server.exchange(sign(claims, key)), "invalid_request")
        refusal = server.last_refusal()
        assert refusal["reason"] == "token.signature"
        assert refusal["in"].keys() == {"unverified"}
    for raw in (server.forged()[:-4], "garbage", "a.b.c"):
        assert_refused(await server.exchange(raw), "invalid_request")


@pytest.mark.parametrize("typ", ["JWT", "client-authentication+jwt", "revocations+jwt", ABSENT])
async def test_another_type_of_token_is_no_subject_token(server: RunningServer, typ: object) -> None:
    """Only access tokens are exchanged."""
    claims = good_claims(issuer=server.issuer.url, audience=CALENDAR_SERVER)
    assert_refused(await server.exchange(sign(claims, server.keys.issuer, typ=typ)), "invalid_request")
    assert server.last_refusal()["reason"] == "token.type"


async def test_a_refusal_names_the_token_that_was_presented(server: RunningServer) -> None:
    """Of a subject token whose signature holds, the journal keeps who and what it was, and its transaction."""
    await server.exchange(server.forged(), resource=NOTES)
    refusal = server.last_refusal()
    assert (refusal["in"]["jti"], refusal["in"]["aud"]) == ("token-1", CALENDAR_SERVER)
    assert (refusal["txn"], refusal["client"], refusal["resource"]) == ("txn-1", "calendar-server", "notes")


TARGETS_WITHOUT_A_HOP: list[tuple[str, str]] = [
    ("", "audience.missing"),
    (NOTES, "hop.unknown"),
    (CALENDAR, "hop.unknown"),
    (CALENDAR_SERVER, "hop.unknown"),
    (ROOMS_SERVER, "hop.unknown"),
    ("https://stranger.example.com/mcp", "audience.mismatch"),
    (f"{ROOMS}/", "audience.mismatch"),
    ("rooms", "audience.mismatch"),
]


async def test_only_a_hop_leads_on(server: RunningServer, subtests: pytest.Subtests) -> None:
    """No token for a resource that no hop names, for any server's own address, or for what is not registered."""
    for resource, reason in TARGETS_WITHOUT_A_HOP:
        with subtests.test(resource=resource):
            assert_refused(await server.exchange(server.forged(), resource=resource), "invalid_target")
            assert server.last_refusal()["reason"] == reason


async def test_two_targets_are_refused(server: RunningServer) -> None:
    """Two values of `resource`, or another `audience` beside it, are `invalid_target`."""
    assert_refused(await server.exchange(server.forged(), audience=NOTES), "invalid_target")
    assert_refused(await server.exchange(server.forged(), resource="", audience=ROOMS), "invalid_target")
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": server.forged(),
        "resource": [ROOMS, ROOMS],
        **server.proof("calendar-server"),
    }
    assert_refused(await server.http.post("/token", data=form), "invalid_target")


async def test_a_default_resource_is_not_for_exchange(server: RunningServer) -> None:
    """An exchange names its target, whatever default its client has."""
    server.change_client("calendar-server", default_resource="rooms")
    assert_refused(await server.exchange(server.forged(), resource=""), "invalid_target")


async def test_only_the_server_itself_presents(server: RunningServer) -> None:
    """A client that serves another resource, or none, cannot exchange; nor can the gateway's name be used."""
    assert_refused(await server.exchange(server.forged(), by="rooms-server"), "invalid_request")
    assert server.last_refusal()["reason"] == "presenter.mismatch"
    assert_refused(await server.exchange(server.forged(), by="trip-planner"), "unauthorized_client")
    answer = await server.ask(
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=server.forged(),
        resource=ROOMS,
        client_id="gateway:calendar",
    )
    assert_refused(answer, "invalid_client", status=401)


async def test_a_token_without_gateway_in_front_is_exchanged_too(server: RunningServer) -> None:
    """A resource without an upstream is addressed at its `uri`, and its server exchanges that token."""
    server.change_client("rooms-server", serves=("notes",))
    server.change_registry(hops=(Hop(source="notes", target="rooms", scopes={"notes:read": ("rooms:read",)}),))
    parent = sign(good_claims(issuer=server.issuer.url, audience=NOTES, scope="notes:read"), server.keys.issuer)
    assert claims_of(await server.exchange(parent, by="rooms-server"))["aud"] == ROOMS


SCOPES: list[tuple[Any, str | None, str | None]] = [
    ("calendar:read", None, "rooms:read"),
    ("calendar:read calendar:write", "rooms:read", "rooms:read"),
    ("calendar:read", "rooms:book", None),
    ("calendar:read", "rooms:read rooms:book", None),
    ("calendar:read", "calendar:read", None),
    ("calendar:read", "*", None),
    ("calendar:write", None, None),
    ("calendar:write", "rooms:read", None),
    ("", None, None),
    (ABSENT, None, None),
    ("rooms:read", None, None),
]


async def test_scopes_map_through_the_hop_and_only_shrink(server: RunningServer, subtests: pytest.Subtests) -> None:
    """The child has what the hop maps the parent's scopes to, or what was asked of it; more is `invalid_scope`."""
    for parent, asked, granted in SCOPES:
        with subtests.test(parent=parent):
            answer = await server.exchange(server.forged(scope=parent), **({"scope": asked} if asked else {}))
            if granted is None:
                assert_refused(answer, "invalid_scope")
                assert server.last_refusal()["reason"] == "scope.insufficient"
            else:
                assert claims_of(answer)["scope"] == answer.json()["scope"] == granted


FOREIGN_PARAMETERS: list[dict[str, str]] = [
    {"actor_token": "x"},
    {"actor_token_type": ACCESS_TOKEN},
    {"subject_token": ""},
    {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"},
    {"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"},
    {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
    {"requested_token_type": "access_token"},
]


async def test_parameters_that_are_not_ours_are_refused(server: RunningServer, subtests: pytest.Subtests) -> None:
    """An actor token, another token type, or no subject token make the request malformed."""
    for changes in FOREIGN_PARAMETERS:
        with subtests.test(changes=changes):
            assert_refused(await server.exchange(server.forged(), **changes), "invalid_request")


@pytest.mark.parametrize("changes", [{"subject_token_type": ""}, {"requested_token_type": ACCESS_TOKEN}])
async def test_token_types_are_optional(server: RunningServer, changes: dict[str, str]) -> None:
    """The types may be left out, or named if they are an access token's."""
    claims_of(await server.exchange(server.forged(), **changes))


@pytest.mark.parametrize("sub", ["calendar-server", ["rooms-server", "calendar-server"]])
async def test_may_act_lets_the_named_presenter_pass(server: RunningServer, sub: object) -> None:
    """A `may_act` that names the presenter, as text or in a list, is honoured and not copied."""
    may_act = {"sub": sub, "iss": server.issuer.url}
    assert "may_act" not in claims_of(await server.exchange(server.forged(may_act=may_act)))


@pytest.mark.parametrize(("inner", "passes"), [(3, True), (4, False)])
async def test_a_chain_has_at_most_four_actors(server: RunningServer, inner: int, passes: bool) -> None:
    """The fourth actor is accepted, a fifth is not; gateways between them do not count."""
    act: dict[str, Any] = {"sub": "server-0"}
    for number in range(1, inner):
        act = {"sub": f"server-{number}", "act": {"sub": "gateway:x", "act": act}}
    answer = await server.exchange(server.forged(act=act))
    if passes:
        claims_of(answer)
    else:
        assert_refused(answer, "invalid_request")
        assert server.last_refusal()["reason"] == "chain.depth"


async def test_a_chain_does_not_return(server: RunningServer) -> None:
    """A hop back to a resource where the chain was before is refused, over permits and rows alike."""
    inbound = (await server.planner_token()).json()["access_token"]
    onward = (await server.exchange(await server.through_gateway(inbound))).json()["access_token"]
    at_rooms = await server.through_gateway(onward, "rooms")
    assert_refused(await server.exchange(at_rooms, by="rooms-server", resource=CALENDAR), "invalid_request")
    assert server.last_refusal()["reason"] == "chain.cycle"
    claims_of(await server.exchange(at_rooms, by="rooms-server", resource=NOTES))


async def test_policy_can_forbid_an_exchange(server: RunningServer) -> None:
    """A forbid over `exchange` to the target refuses as an unknown resource would."""
    server.forbid(
        '@id("no-rooms") forbid (principal == MCP::Agent::"trip-planner", action == MCP::Action::"exchange",'
        ' resource == MCP::Server::"rooms");'
    )
    assert_refused(await server.exchange(server.forged()), "invalid_target")
    assert server.last_refusal()["reason"] == "policy.denied"


async def test_an_exchange_is_recorded_with_both_tokens(server: RunningServer) -> None:
    """The journal's record has parent and child, and the database the child's lineage."""
    child = claims_of(await server.exchange(server.forged()))
    (record,) = server.records("token.issued")
    assert (record["in"]["jti"], record["out"]["jti"], record["parent_jti"]) == ("token-1", child["jti"], "token-1")
    assert await server.stores.lineage.audiences(child["jti"]) == {CALENDAR_SERVER, ROOMS}


async def test_four_tokens_four_audiences(server: RunningServer) -> None:
    """From the agent to the second server every hop has a token of its own, for one audience, in one transaction."""
    first = (await server.planner_token()).json()["access_token"]
    second = await server.through_gateway(first)
    third = (await server.exchange(second)).json()["access_token"]
    fourth = await server.through_gateway(third, "rooms")
    chain = [claims_in(token) for token in (first, second, third, fourth)]
    assert [claims["aud"] for claims in chain] == [CALENDAR, CALENDAR_SERVER, ROOMS, ROOMS_SERVER]
    assert [claims["hop"] for claims in chain] == [1, 2, 3, 4]
    assert len({claims["txn"] for claims in chain}) == 1
    assert {claims["sub"] for claims in chain} == {"trip-planner"}
    assert [claims["exp"] for claims in chain] == [NOW + 300, NOW + 60, NOW + 60, NOW + 60]
    assert chain[3]["act"] == {
        "sub": "gateway:rooms",
        "act": {"sub": "calendar-server", "act": {"sub": "gateway:calendar"}},
    }


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RevokedObject.TOKEN, "token-1"),
        (RevokedObject.AGENT, "trip-planner"),
        (RevokedObject.SUBJECT, "user:ann"),
        (RevokedObject.RESOURCE, "calendar"),
        (RevokedObject.RESOURCE, CALENDAR),
        (RevokedObject.TENANT, "acme"),
    ],
)
async def test_a_revoked_token_is_not_exchanged(server: RunningServer, kind: RevokedObject, value: str) -> None:
    """However the subject token was revoked, it gets no child."""
    await server.issuer.revoker.revoke(kind, value, why="test", by="test")
    assert_refused(await server.exchange(server.forged(tenant="acme")), "invalid_request")
    assert server.last_refusal()["reason"] == "token.revoked"


async def test_an_agent_without_standing_is_not_acted_for(server: RunningServer) -> None:
    """A disabled or expired agent, a disabled source, or one without an owner: no exchange."""
    standing, registry = server.issuer.standing, server.issuer.registry
    await standing.disable("client", "trip-planner", why="test", now=1)
    assert_refused(await server.exchange(server.forged()), "invalid_request")
    assert server.last_refusal()["reason"] == "client.disabled"
    await standing.enable("client", "trip-planner", now=2)
    await standing.disable("resource", "calendar", why="test", now=3)
    assert_refused(await server.exchange(server.forged()), "invalid_request")
    await standing.enable("resource", "calendar", now=4)
    orphan = replace(registry.resources["calendar"], owner="gone")
    server.change_registry(resources={**registry.resources, "calendar": orphan})
    assert_refused(await server.exchange(server.forged()), "temporarily_unavailable", status=503)
