"""A call that policy lets through once a person has approved it: that call, once, and no other.

Spec: MCP 2025-11-25 transports
Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.core.approval import Approver, ExactCall
from perhop.errors import ApprovalClosed, ApproverRefused, NotFound, PolicyError, SignInStale
from perhop.gateway.approvals import MAX_WAITING
from perhop.policy.policy_set import parse_policies
from perhop.rules.approval import FRESH_SECONDS, USE_SECONDS, call_digest
from tests.support.gateways import World, gateway
from tests.support.upstreams import json_answer, legacy, modern

Request = tuple[dict[str, str], bytes]

POLICIES = """
@id("reads") permit (principal, action == MCP::Action::"call_tool", resource)
    when { resource.name == "echo" || resource.name == "add" };
@id("big") @approval("owner") permit (principal, action == MCP::Action::"call_tool", resource)
    when { resource.name == "add" && context.arguments has to && context.arguments.to > 3 };
@id("events") @approval("owner") permit (principal, action == MCP::Action::"call_tool", resource)
    when { resource.name == "create_event" };
"""
PERSON = "user:ann"
BIG = {"name": "add", "arguments": {"to": 9}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path, policies=(POLICIES,)) as made:
        yield made


def bob(world: World, *, ago: float = 0, **changes: str) -> Approver:
    """A member of the team, signed in so many seconds ago."""
    made = Approver(subject="user:bob", email="bob@example.com", signed_in_at=int(world.clock() - ago))
    return replace(made, **changes)


async def call(
    world: World, params: Mapping[str, Any] = BIG, *, method: str = "tools/call", **claims: Any
) -> httpx2.Response:
    return await world.send(legacy(method, params), token=world.token(**{"sub": PERSON, **claims}))


async def wanted(world: World, params: Mapping[str, Any] = BIG, **claims: Any) -> str:
    """Call, and get the id of the approval that the call needs."""
    answer = await call(world, params, **claims)
    assert answer.status_code == 403
    assert answer.json()["error"]["data"]["reason"] == "approval.required"
    return str(answer.json()["error"]["data"]["approval"])


def is_refused(answer: httpx2.Response, status: int, reason: str) -> bool:
    return (answer.status_code, answer.json()["error"]["data"]["reason"]) == (status, reason)


@pytest.mark.parametrize("speak", [legacy, modern])
async def test_the_caller_hears_what_to_do(world: World, speak: Callable[[str, Mapping[str, Any]], Request]) -> None:
    """403 with a JSON-RPC error for the call's own id: which approval, how long it waits, and when to ask again."""
    answer = await world.send(speak("tools/call", BIG), token=world.token(sub=PERSON))
    error = answer.json()["error"]
    assert answer.status_code == 403
    assert answer.headers["retry-after"] == "10"
    assert answer.json()["id"] == 1
    assert error["code"] == -31403
    assert error["message"] == (
        "the call needs the approval of the resource's owner: repeat it unchanged once that is given"
    )
    assert error["data"]["reason"] == "approval.required"
    assert 890 <= error["data"]["expires_in"] <= 900
    assert world.upstream.received == []


async def test_an_approved_call_passes_once(world: World) -> None:
    """The call passes after the yes, and the same call after it waits for another."""
    approval = await wanted(world)
    await world.approvals.decide(approval, allow=True, approver=bob(world), why="checked with ann")
    assert (await call(world)).status_code == 200
    assert len(world.upstream.received) == 1
    assert await wanted(world) != approval
    events = [(each["event"], each.get("decision", {}).get("approval")) for each in await world.records(7)]
    assert events[:5] == [
        ("approval.changed", None),
        ("call.refused", approval),
        ("approval.changed", None),
        ("call.permitted", approval),
        ("call.ended", None),
    ]


async def test_the_journal_says_who_approved_what(world: World) -> None:
    """Asked, decided and used stand in the journal, with a digest of the call and no argument."""
    approval = await wanted(world)
    await world.approvals.decide(approval, allow=True, approver=bob(world), why="checked with ann")
    await call(world)
    asked, refused, decided, permitted, _ = await world.records(5)
    assert (
        asked["about"] | {"change": "requested", "approval": approval, "agent": "trip-planner", "sub": PERSON}
        == (asked["about"])
    )
    assert asked["about"]["policies"] == ["big"]
    assert refused["decision"] == {
        "effect": "deny",
        "policies": ["big"],
        "policy_version": world.gate.policy.version,
        "approval": approval,
    }
    assert (
        decided["about"] | {"change": "approved", "approver": "user:bob", "why": "checked with ann"}
        == (decided["about"])
    )
    assert decided["about"]["params_sha256"] == asked["about"]["params_sha256"]
    assert permitted["decision"]["policies"] == ["big", "reads"]
    assert "9" not in {str(value) for value in asked["about"].values()}


async def test_one_permit_that_wants_approval_is_enough(world: World) -> None:
    """Another permit for the same call does not spare it; a call that no such permit fits passes at once."""
    await wanted(world)
    assert (await call(world, {"name": "add", "arguments": {"to": 2}})).status_code == 200


OTHERS: dict[str, dict[str, Any]] = {
    "changed arguments": {"params": {"name": "add", "arguments": {"to": 10}}},
    "one argument more": {"params": {"name": "add", "arguments": {"to": 9, "note": ""}}},
    "a member beside the arguments": {"params": {**BIG, "task": {"ttl": 60}}},
    "another tool": {"params": {"name": "create_event", "arguments": {"to": 9}}},
    "another agent": {"client_id": "other-agent"},
    "another person": {"sub": "user:eve"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_approval_for_another_call(world: World, other: dict[str, Any]) -> None:
    """What differs in anything that the approval is bound to waits for its own, and uses up nothing."""
    approval = await wanted(world)
    await world.approvals.decide(approval, allow=True, approver=bob(world))
    assert await wanted(world, **other) != approval
    assert world.upstream.received == []
    assert (await call(world)).status_code == 200


@pytest.mark.parametrize("part", [each.name for each in fields(ExactCall)])
async def test_approval_is_bound_to_each_part(world: World, part: str) -> None:
    """No part of what an approval is bound to can be another without the digest being another."""
    call = (await world.approvals.get(await wanted(world))).approval.call
    assert call_digest(replace(call, **{part: "another"})) != call_digest(call)


async def test_approval_under_other_policies(world: World) -> None:
    """Policies that have changed since: the approval is worth nothing, and what still waits cannot be approved."""
    approved, waiting = await wanted(world), await wanted(world, {"name": "create_event", "arguments": {}})
    await world.approvals.decide(approved, allow=True, approver=bob(world))
    world.take_policies(POLICIES, '@id("more") permit (principal, action, resource) when { false };')
    assert await wanted(world) != approved
    with pytest.raises(ApprovalClosed, match="no longer in force"):
        await world.approvals.decide(waiting, allow=True, approver=bob(world))
    assert world.upstream.received == []


async def test_what_is_said_beside_a_call_is_not_bound(world: World) -> None:
    """`_meta` may differ when the call is repeated, as a progress token does."""
    approval = await wanted(world, {**BIG, "_meta": {"progressToken": 1}})
    await world.approvals.decide(approval, allow=True, approver=bob(world))
    assert (await call(world, {**BIG, "_meta": {"progressToken": 2}})).status_code == 200


async def test_approval_used_by_many_at_once(world: World) -> None:
    """Of fifty repetitions at once exactly one is forwarded."""
    approval = await wanted(world)
    await world.approvals.decide(approval, allow=True, approver=bob(world))
    token = world.token(sub=PERSON)
    answers = await asyncio.gather(*(world.send(legacy("tools/call", BIG), token=token) for _ in range(50)))
    assert sorted(each.status_code for each in answers) == [200] + [403] * 49
    assert len(world.upstream.received) == 1


async def test_many_askers_wait_for_one_approval(world: World) -> None:
    """The same call, made often while it waits, is one question to a person."""
    asked = await asyncio.gather(*(wanted(world) for _ in range(20)))
    assert len(set(asked)) == 1
    assert len(await world.approvals.waiting()) == 1


async def test_own_approval(world: World) -> None:
    """The person for whom the agent acts cannot approve, though of the team."""
    approval = await wanted(world, sub="user:bob")
    with pytest.raises(ApproverRefused, match="for themselves"):
        await world.approvals.decide(approval, allow=True, approver=bob(world), ip="192.0.2.7")
    tried = (await world.records(3))[-1]
    assert (tried["about"]["change"], tried["about"]["by"]) == ("decision refused", "user:bob")
    assert tried["detail"] == "the agent acts for this person"
    assert tried["request"] == {"ip": "192.0.2.7"}
    await wanted(world, sub="user:bob")
    dora = bob(world, subject="user:dora", email="dora@example.com")
    await world.approvals.decide(approval, allow=True, approver=dora)
    assert (await call(world, sub="user:bob")).status_code == 200


async def test_approval_by_a_stranger(world: World) -> None:
    """Whoever is not of the owner's team decides nothing."""
    approval = await wanted(world)
    with pytest.raises(ApproverRefused, match="not of `travel-team`"):
        await world.approvals.decide(approval, allow=True, approver=bob(world, email="bob@example.org"))
    await wanted(world)


@pytest.mark.parametrize("ago", [FRESH_SECONDS + 1, -5])
async def test_approval_by_an_old_sign_in(world: World, ago: float) -> None:
    """Who signed in more than five minutes ago, or will have, must sign in again."""
    approval = await wanted(world)
    with pytest.raises(SignInStale):
        await world.approvals.decide(approval, allow=True, approver=bob(world, ago=ago))
    await world.approvals.decide(approval, allow=True, approver=bob(world, ago=FRESH_SECONDS - 1))


async def test_a_denied_call_stays_denied(world: World) -> None:
    """A no is told as a no, asks nobody again, and cannot be turned into a yes; other calls are not touched by it."""
    approval = await wanted(world)
    await world.approvals.decide(approval, allow=False, approver=bob(world), why="not today")
    answer = await call(world)
    assert is_refused(answer, 403, "policy.denied")
    assert answer.json()["error"]["message"] == "the owner of the resource denied this call"
    with pytest.raises(ApprovalClosed):
        await world.approvals.decide(approval, allow=True, approver=bob(world))
    await wanted(world, {"name": "add", "arguments": {"to": 10}})
    assert world.upstream.received == []
    assert (await world.records(5))[3]["decision"]["approval"] == approval


async def test_a_yes_is_taken_back(world: World) -> None:
    """Until it is used; then there is nothing to take back, and a second yes changes nothing either."""
    approval = await wanted(world)
    await world.approvals.decide(approval, allow=True, approver=bob(world))
    with pytest.raises(ApprovalClosed):
        await world.approvals.decide(approval, allow=True, approver=bob(world))
    await world.approvals.decide(approval, allow=False, approver=bob(world), why="a mistake")
    assert is_refused(await call(world), 403, "policy.denied")
    other = {"name": "add", "arguments": {"to": 10}}
    used = await wanted(world, other)
    await world.approvals.decide(used, allow=True, approver=bob(world))
    assert (await call(world, other)).status_code == 200
    with pytest.raises(ApprovalClosed, match="used"):
        await world.approvals.decide(used, allow=False, approver=bob(world))


async def test_approval_too_late(world: World) -> None:
    """What nobody has decided in time expires, is recorded, and forgets what the call says."""
    approval = await wanted(world)
    assert world.approvals.params_of(await world.approvals.get(approval)) is not None
    world.clock.ahead = 901
    with pytest.raises(ApprovalClosed, match="expired"):
        await world.approvals.decide(approval, allow=True, approver=bob(world))
    await world.approvals.expire()
    stored = await world.approvals.get(approval)
    assert (stored.approval.state, stored.sealed) == ("expired", None)
    assert (await world.records(2))[-1]["about"]["change"] == "expired"
    assert await wanted(world) != approval


async def test_an_approved_call_can_be_repeated_for_a_while(world: World) -> None:
    """One that is approved in the last second has five minutes from then, and not longer."""
    approval = await wanted(world)
    world.clock.ahead = 890
    await world.approvals.decide(approval, allow=True, approver=bob(world))
    world.clock.ahead = 890 + USE_SECONDS - 5
    token = world.token(sub=PERSON)
    assert (await world.send(legacy("tools/call", BIG), token=token)).status_code == 200
    second = await wanted(world)
    await world.approvals.decide(second, allow=True, approver=bob(world))
    world.clock.ahead += 901
    assert await wanted(world) != second


async def test_what_a_call_says_is_kept_until_it_is_decided(world: World, tmp_path: Path) -> None:
    """Encrypted, in the database alone; the decision forgets it, and nothing of it is in a record."""
    arguments = {"to": 9, "note": "a word that is nowhere else"}
    approval = await wanted(world, {"name": "add", "arguments": arguments})
    stored = await world.approvals.get(approval)
    shown = world.approvals.params_of(stored)
    assert shown is not None
    assert shown["name"] == "add"
    assert shown["arguments"] | arguments == shown["arguments"]
    files = [each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()]
    assert not any(b"nowhere else" in octets for octets in files)
    await world.approvals.decide(approval, allow=False, approver=bob(world))
    assert (await world.approvals.get(approval)).sealed is None


async def test_a_sealed_call_opens_for_its_own_approval_only(world: World) -> None:
    """What was kept for one approval cannot be shown as another's."""
    one, other = await wanted(world), await wanted(world, {"name": "create_event", "arguments": {"title": "x"}})
    first, second = await world.approvals.get(one), await world.approvals.get(other)
    with pytest.raises(ApprovalClosed, match="cannot be read"):
        world.approvals.params_of(replace(first, sealed=second.sealed))


async def test_approvals_flooded(world: World) -> None:
    """Of one agent only so many calls wait; the next one is refused without a question, and another agent's is not."""
    for number in range(MAX_WAITING):
        await wanted(world, {"name": "add", "arguments": {"to": 100 + number}})
    answer = await call(world, {"name": "add", "arguments": {"to": 99}})
    assert is_refused(answer, 429, "limit.exceeded")
    assert len(await world.approvals.waiting()) == MAX_WAITING
    await wanted(world, {"name": "add", "arguments": {"to": 99}}, client_id="other-agent")


async def test_an_unknown_approval(world: World) -> None:
    """There is nothing to decide."""
    with pytest.raises(NotFound):
        await world.approvals.decide("no-such", allow=True, approver=bob(world))


async def test_a_tool_that_waits_for_approval_is_listed(world: World) -> None:
    """An agent sees what it could do after a yes."""
    world.upstream.script = lambda _: json_answer({"tools": [{"name": "create_event"}, {"name": "fail"}]})
    answer = await world.send(legacy("tools/list", {}), token=world.token(sub=PERSON))
    assert [tool["name"] for tool in answer.json()["result"]["tools"]] == ["create_event"]


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ('@id("a") @approval("me") permit (principal, action, resource);', "names nobody"),
        ('@id("a") @approval permit (principal, action, resource);', "names nobody"),
        ('@id("a") @approval("owner") forbid (principal, action, resource);', "is a forbid"),
    ],
)
def test_an_annotation_that_means_nothing(policy: str, problem: str) -> None:
    """It is refused at load, not passed over."""
    with pytest.raises(PolicyError, match=problem):
        parse_policies({"a.cedar": policy})
