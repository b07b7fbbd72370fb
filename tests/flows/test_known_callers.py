"""Who called a moment ago is known again only by the very same value, and only while everything is as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perhop.authorization_server.revocation import RevokedObject
from perhop.control.operations import key_rotate
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies
from perhop.tokens.parse import parse_compact
from perhop.wiring.standing_now import StandingNow
from tests.attacks.row import Door, Seen
from tests.attacks.world import World, a_call, attacked, claims_in, with_token

CALL = a_call("list_events", {"day": "monday"})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with attacked(tmp_path) as made:
        yield made


async def _say(world: World, *values: str, resource: str = "calendar") -> Seen:
    wire = replace(CALL, headers=(*CALL.headers, *(("authorization", value) for value in values)))
    return await world.knock(world.entrance(Door.GATEWAY, resource), wire)


async def _known(world: World) -> str:
    """A token of its own, with which calls have passed."""
    token = world.forge(world.entrance(Door.GATEWAY).audience)
    for _ in range(3):
        assert (await world.knock(world.entrance(Door.GATEWAY), with_token(CALL, token))).passed == 1
    return token


async def test_another_value_is_looked_at_as_if_nothing_had_come_before(world: World) -> None:
    """The same token under another scheme, twice, cut, longer, or at another resource is refused for its own reason."""
    token = await _known(world)
    other = token[:-1] + ("A" if token[-1] != "A" else "Q")
    tried = {
        "another scheme": await _say(world, f"DPoP {token}"),
        "twice": await _say(world, f"Bearer {token}", f"Bearer {token}"),
        "cut": await _say(world, f"Bearer {token[:-2]}"),
        "another last letter": await _say(world, f"Bearer {other}"),
        "two spaces": await _say(world, f"Bearer  {token}"),
        "none": await _say(world),
        "another resource": await _say(world, f"Bearer {token}", resource="rooms"),
    }
    assert {name: (seen.reason, seen.passed) for name, seen in tried.items()} == {
        "another scheme": ("sender.mismatch", 0),
        "twice": ("token.malformed", 0),
        "cut": ("token.signature", 0),
        "another last letter": ("token.signature", 0),
        "two spaces": ("token.malformed", 0),
        "none": ("token.malformed", 0),
        "another resource": ("audience.mismatch", 0),
    }
    assert (await _say(world, f"bearer {token}")).passed == 1
    assert (await _say(world, f"Bearer {token}")).passed == 1
    standing, issuer = StandingNow(world.plane), world.plane.issuer
    seen = standing.look(world.plane.verify_here(token))
    assert standing.holds(seen)
    for changed in (replace(issuer), replace(issuer, registry=replace(issuer.registry, clients={}))):
        world.plane.issuer = changed  # as when a key or the configuration changes
        assert not standing.holds(seen)
    world.plane.issuer = issuer
    assert standing.holds(seen)


NO_EXCHANGE = '@id("all") permit (principal, action, resource);'
FORBIDDEN = '@id("none") forbid (principal, action == MCP::Action::"exchange", resource);'


async def test_a_known_exchange_is_of_its_own_token_and_policy(world: World) -> None:
    """Each token gets the hop token of its own chain, and none once policy or key of the issuer are others."""
    first, second = await _known(world), await _known(world)
    for token in (first, second, first, second):
        received = claims_in(await world.received(token))
        assert (received["txn"], received["hop"]) == (claims_in(token)["txn"], 2)
    issuer = world.plane.issuer
    forbidding = PolicyEngine(parse_policies({"p.cedar": NO_EXCHANGE + FORBIDDEN}), issuer.registry)
    world.plane.issuer = replace(issuer, policy=world.plane.policy_told_of_people(forbidding))
    seen = await _say(world, f"Bearer {first}")
    assert (seen.reason, seen.passed) == ("policy.denied", 0)
    world.plane.issuer = issuer
    world.clock.now += 60  # so soon after another key none may begin to sign
    before = await world.received(first)
    await key_rotate(world.plane, alg="Ed25519", now=True, revoke_others=False)
    after = await world.received(first)
    assert parse_compact(before).key_id != parse_compact(after).key_id == world.plane.issuer.keyring.active.kid


Change = Callable[[World, str], Awaitable[object]]


async def _revoke(world: World, token: str) -> None:
    await world.plane.issuer.revoker.revoke(RevokedObject.TOKEN, claims_in(token)["jti"], why="a test", by="tests")


def _disable(kind: str, name: str) -> Change:
    async def change(world: World, token: str) -> None:
        await world.plane.issuer.standing.disable(kind, name, why="a test", now=world.now)

    return change


async def _rotate(world: World, token: str) -> None:
    await key_rotate(world.plane, alg=None, now=False, revoke_others=True)


async def _wait(world: World, token: str) -> None:
    world.clock.now = claims_in(token)["exp"]


async def _set_back(world: World, token: str) -> None:
    world.clock.now = claims_in(token)["iat"] - 120


async def test_a_known_caller_is_refused_as_soon_as_anything_changes(world: World) -> None:
    """Revocation, a disabling, its end, a clock set back, its key gone: the next request is refused, and says why."""
    owner = world.plane.registry.clients["planner"].owner
    changes: dict[str, tuple[Change, str]] = {
        "revoked": (_revoke, "token.revoked"),
        "agent": (_disable("client", "planner"), "client.disabled"),
        "resource": (_disable("resource", "calendar"), "token.revoked"),
        "owner": (_disable("owner", owner), "owner.missing"),
        "over": (_wait, "token.expired"),
        "before its time": (_set_back, "token.lifetime"),
        "its key": (_rotate, "token.signature"),
    }
    for name, (change, reason) in changes.items():
        token, began = await _known(world), world.clock.now
        await change(world, token)
        seen = await _say(world, f"Bearer {token}")
        assert (seen.reason, seen.passed) == (reason, 0), name
        world.clock.now = max(began, world.clock.now) + 1
        for kind, named in (("client", "planner"), ("resource", "calendar"), ("owner", owner)):
            await world.plane.issuer.standing.enable(kind, named, now=world.now)
        is_good_again = name in ("agent", "resource", "owner", "before its time")
        assert ((await _say(world, f"Bearer {token}")).passed == 1) is is_good_again, name
