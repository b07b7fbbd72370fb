"""The gateway's own exchange, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from perhop.core.resource import CredentialKind
from perhop.errors import ChainTooDeep, PolicyDenied, PresenterMismatch, ScopeInsufficient, TokenExpired
from perhop.rules.call_binding import bind_call
from perhop.rules.resource_uri import parse_resource_uri
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    NOW,
    ROOMS_SERVER,
    RunningServer,
    assert_refused,
    claims_in,
    running_server,
)
from tests.support.forge import good_claims, sign

LISTING = bind_call("tools/list", {})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


def _inbound(server: RunningServer, **changes: object) -> str:
    return sign(good_claims(issuer=server.issuer.url, audience=CALENDAR, **changes), server.keys.issuer)


async def test_a_hop_token_is_for_the_upstream_alone(server: RunningServer) -> None:
    """It has the upstream as audience, the gateway as actor and presenter, the same scopes, and 60 seconds."""
    permit = server.permit(_inbound(server, scope="calendar:read calendar:write"))
    hop = server.hops().exchange(permit)
    claims = claims_in(hop.minted.raw.reveal())
    assert claims["aud"] == hop.audience == CALENDAR_SERVER
    assert (claims["client_id"], claims["act"]["sub"]) == ("gateway:calendar", "gateway:calendar")
    assert (claims["sub"], claims["agent"], claims["scope"]) == (
        "user:ann",
        "trip-planner",
        "calendar:read calendar:write",
    )
    assert (claims["exp"], claims["hop"], claims["tenant"]) == (NOW + 60, 2, "acme")
    assert claims["jti"] == hop.jti


async def test_a_hop_token_ends_with_its_parent(server: RunningServer) -> None:
    """A parent with less than 60 seconds left passes on what is left, and an expired one nothing."""
    permit = server.permit(_inbound(server, exp=NOW + 7))
    assert server.hops().exchange(permit).minted.draft.expires_at == NOW + 7
    server.clock.now += 7
    with pytest.raises(TokenExpired):
        server.hops().exchange(permit)


async def test_a_hop_writes_nothing(server: RunningServer) -> None:
    """The permit is the record: the exchange itself touches neither database nor journal."""
    permit = server.permit(_inbound(server))
    await server.database.close()
    server.database.path.unlink()
    hop = server.hops().exchange(permit)
    assert hop.audience == CALENDAR_SERVER
    assert server.records() == []


async def test_foreign_scopes_go_no_further(server: RunningServer) -> None:
    """Scopes that the resource does not have are dropped; a token with none of its scopes gets no hop token."""
    permit = server.permit(_inbound(server, scope="calendar:read rooms:book"))
    assert server.hops().exchange(permit).minted.draft.scopes == {"calendar:read"}
    for scope in ("rooms:book", ""):
        with pytest.raises(ScopeInsufficient):
            server.hops().exchange(server.permit(_inbound(server, scope=scope)))


async def test_may_act_binds_the_gateway_too(server: RunningServer) -> None:
    """A token that names who may act for its subject is not passed on by a gateway that it does not name."""
    with pytest.raises(PresenterMismatch):
        server.hops().exchange(server.permit(_inbound(server, may_act={"sub": "calendar-server"})))
    named = _inbound(server, may_act={"sub": ["gateway:calendar"]})
    assert server.hops().exchange(server.permit(named)).audience == CALENDAR_SERVER


async def test_a_chain_that_is_too_deep_ends_at_the_gateway(server: RunningServer) -> None:
    """A token with five actors is not passed on."""
    act: dict[str, object] = {"sub": "a"}
    for name in "bcde":
        act = {"sub": name, "act": act}
    with pytest.raises(ChainTooDeep):
        server.hops().exchange(server.permit(_inbound(server, act=act)))


async def test_policy_can_forbid_the_hop(server: RunningServer) -> None:
    """A forbid over `exchange` holds for the gateway's step too."""
    server.forbid(
        '@id("no") forbid (principal, action == MCP::Action::"exchange", resource == MCP::Server::"calendar");'
    )
    with pytest.raises(PolicyDenied):
        server.hops().exchange(server.permit(_inbound(server)))


async def test_the_self_tests_tokens_differ_in_their_audience_alone(server: RunningServer) -> None:
    """The right token and the canary are alike but for audience, id and transaction, and both are recorded."""
    calendar = server.issuer.registry.resources["calendar"]
    right = await server.hops().self_test_token(calendar, calendar.server_uri, LISTING)
    canary = await server.hops().self_test_token(calendar, server.hops().canary(), LISTING)
    claims = [claims_in(each.minted.raw.reveal()) for each in (right, canary)]
    assert claims[0].keys() == claims[1].keys()
    assert {name for name in claims[0] if claims[0][name] != claims[1][name]} == {"aud", "jti", "txn"}
    assert claims[0]["sub"] == claims[0]["client_id"] == "gateway:calendar"
    assert claims[1]["aud"].startswith(f"{server.issuer.url}/canary/")
    issued = server.records("token.issued")
    assert [record["out"]["aud"] for record in issued] == [each["aud"] for each in claims]
    assert all(record["about"] == {"self_test": "calendar"} for record in issued)


async def test_the_self_tests_token_leads_no_further(server: RunningServer) -> None:
    """The upstream that is tested cannot exchange the token that it is tested with."""
    calendar = server.issuer.registry.resources["calendar"]
    right = await server.hops().self_test_token(calendar, calendar.server_uri, LISTING)
    assert_refused(await server.exchange(right.minted.raw.reveal()), "invalid_request")
    assert server.last_refusal()["reason"] == "client.disabled"


async def test_every_canary_is_fresh(server: RunningServer) -> None:
    """No two canaries are alike, and none is registered."""
    canaries = {server.hops().canary() for _ in range(10)}
    assert len(canaries) == 10
    assert not any(server.issuer.registry.is_registered(each) for each in canaries)


@pytest.mark.parametrize("audience", [CALENDAR, ROOMS_SERVER, "https://auth.example.com/canaries"])
async def test_the_self_test_gets_no_other_token(server: RunningServer, audience: str) -> None:
    """Another resource's server, or the resource's own `uri`, is no audience for the self-test."""
    calendar = server.issuer.registry.resources["calendar"]
    with pytest.raises(ValueError, match="canary"):
        await server.hops().self_test_token(calendar, parse_resource_uri(audience), LISTING)


async def test_an_upstream_that_takes_no_token_gets_none(server: RunningServer) -> None:
    """For an upstream without an audience no token is made."""
    calendar = server.issuer.registry.resources["calendar"]
    assert calendar.upstream is not None
    bare = replace(calendar, upstream=replace(calendar.upstream, resource=None, credential=CredentialKind.NONE))
    permit = replace(server.permit(_inbound(server)), resource=bare)
    with pytest.raises(ValueError, match="no upstream"):
        server.hops().exchange(permit)


async def test_a_call_token_is_for_one_call_and_never_kept(server: RunningServer) -> None:
    """Each permit gets a token of its own, bound to its call, for 30 seconds; without a call there is none."""
    calendar = server.issuer.registry.resources["calendar"]
    assert calendar.upstream is not None
    called = replace(calendar, upstream=replace(calendar.upstream, credential=CredentialKind.CALL))
    permit = replace(server.permit(_inbound(server)), resource=called)
    with pytest.raises(RuntimeError, match="no call"):
        server.hops().exchange(permit)
    binding = bind_call("tools/call", {"name": "list_events", "arguments": {"day": "monday"}})
    permit = replace(permit, call=replace(permit.call, binding=binding))
    hops = server.hops()
    first, second = [hops.exchange(permit).minted for _ in range(2)]
    assert first.draft.jti != second.draft.jti
    claims = claims_in(first.raw.reveal())
    assert claims["exp"] == NOW + 30
    assert claims["authorization_details"] == [
        {
            "type": "mcp_call",
            "method": "tools/call",
            "name": "list_events",
            "arguments_sha256": binding.arguments_sha256,
            "params_sha256": binding.params_sha256,
        }
    ]


async def test_the_server_of_a_call_may_exchange_what_it_was_called_with(server: RunningServer) -> None:
    """A call token is addressed to its server like any hop token; what comes of it is for another resource."""
    binding = bind_call("tools/call", {"name": "list_events"})
    detail = {
        "type": "mcp_call",
        "method": "tools/call",
        "name": "list_events",
        "arguments_sha256": binding.arguments_sha256,
        "params_sha256": binding.params_sha256,
    }
    token = good_claims(issuer=server.issuer.url, audience=CALENDAR_SERVER, authorization_details=[detail])
    answer = await server.exchange(sign(token, server.keys.issuer))
    assert answer.status_code == 200, answer.text
    assert "authorization_details" not in claims_in(answer.json()["access_token"])


async def test_a_kept_token_is_asked_about_each_time(server: RunningServer) -> None:
    """The same caller gets the same token as long as policy lets the exchange pass: until another time, or policy."""
    server.forbid(
        '@id("late") forbid (principal, action == MCP::Action::"exchange", resource)'
        f" when {{ context.request.time > {NOW + 5} }};"
    )
    hops, permit = server.hops(), server.permit(_inbound(server))
    first = hops.exchange(permit)
    server.clock.now += 5
    assert hops.exchange(permit) is first
    server.clock.now += 1
    with pytest.raises(PolicyDenied, match="late"):
        hops.exchange(permit)
    server.forbid("")
    assert hops.exchange(permit).jti != first.jti
    server.forbid('@id("shut") forbid (principal, action == MCP::Action::"exchange", resource);')
    with pytest.raises(PolicyDenied, match="shut"):
        hops.exchange(permit)


async def test_a_kept_token_is_handed_out_for_a_living_parent_only(server: RunningServer) -> None:
    """With the parent's last second the kept token is gone, too, whatever it has left."""
    hops, permit = server.hops(), server.permit(_inbound(server, exp=NOW + 60))
    first = hops.exchange(permit)
    assert hops.exchange(permit) is first
    server.clock.now += 60
    with pytest.raises(TokenExpired):
        hops.exchange(permit)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "user:bob"},
        {"agent": "clerk"},
        {"scope": "calendar:read"},
        {"act": {"sub": "rooms-server"}},
        {"hop": 2},
        {"txn": "another"},
        {"exp": NOW + 100},
        {"auth_time": NOW - 50},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_kept_token_is_nobody_elses(server: RunningServer, changes: dict[str, object]) -> None:
    """A token that says anything else gets another hop token, which says that, too."""
    hops = server.hops()
    mine = {"scope": "calendar:read calendar:write", "exp": NOW + 200}
    permit = server.permit(_inbound(server, **mine))
    first = hops.exchange(permit)
    other = hops.exchange(server.permit(_inbound(server, **(mine | changes))))
    assert other.jti != first.jti
    before, after = claims_in(first.minted.raw.reveal()), claims_in(other.minted.raw.reveal())
    told = {"sub", "agent", "scope", "act", "hop", "txn", "auth_time"} & changes.keys()
    assert all(after[name] != before.get(name) for name in told)
    assert hops.exchange(permit) is first


async def test_call_tokens_of_one_caller_are_each_its_own(server: RunningServer) -> None:
    """What is kept of a caller goes into each call token; its id, its times and its call do not."""
    calendar = server.issuer.registry.resources["calendar"]
    assert calendar.upstream is not None
    taking = replace(calendar, upstream=replace(calendar.upstream, credential=CredentialKind.CALL))
    hops, permit = server.hops(), replace(server.permit(_inbound(server)), resource=taking)
    calls = [bind_call("tools/call", {"name": "list_events", "arguments": {"day": day}}) for day in (1, 2)]
    made = []
    for call in calls:
        made.append(hops.exchange(replace(permit, call=replace(permit.call, binding=call))))
        server.clock.now += 1
    first, second = (claims_in(each.minted.raw.reveal()) for each in made)
    differing = {name for name in first if first[name] != second[name]}
    assert differing == {"jti", "iat", "exp", "authorization_details"}


async def test_a_kept_token_is_of_its_resources_tenant(server: RunningServer) -> None:
    """A call that brings the resource as it was under another configuration gets a token of its own."""
    hops, permit = server.hops(), server.permit(_inbound(server))
    first = hops.exchange(permit)
    other = hops.exchange(replace(permit, resource=replace(permit.resource, tenant="globex")))
    assert (first.minted.draft.tenant, other.minted.draft.tenant) == ("acme", "globex")
    assert hops.exchange(permit) is first
