"""Tokens for one call, used for more than that. The guard of the server that they are for decides."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perhop.authorization_server.revocation import RevokedObject
from perhop.resource_server import Challenge
from perhop.resource_server.revocation_feed import MAX_AGE
from perhop.rules.call_binding import bind_call
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import refused, tried, tried_at
from tests.attacks.world import ARGUMENT, World, a_call, a_request, with_token
from tests.support import forge
from tests.support.doors import Wire

CALL = a_call("list_events", {"day": ARGUMENT})
MISMATCH = refused("call.mismatch")


def _bound(wire: Wire) -> Mapping[str, Any]:
    """The claim that binds a token to this message."""
    message = json.loads(wire.body)
    bound = bind_call(message["method"], message["params"])
    detail = {"type": "mcp_call", "method": bound.method, "name": bound.name}
    digests = {"arguments_sha256": bound.arguments_sha256, "params_sha256": bound.params_sha256}
    return {"authorization_details": [detail | digests]}


def _minted(world: World, **changes: Any) -> str:
    """A token for CALL as the gateway mints it, but for these claims."""
    claims = {"exp": world.now + 31, **_bound(CALL), **changes}
    return world.forge(world.entrance(Door.GUARD).audience, **claims)


async def _send(world: World, wire: Wire, token: str) -> Seen:
    """Send it to a guard that has just heard from its feed: attacks move the clock on, and no feed comes along."""
    world.clock.now += MAX_AGE + 1
    fields = (("authorization", f"Bearer {_minted(world)}"),)
    await world.plane.issuer.revoker.revoke(RevokedObject.TOKEN, secrets.token_hex(8), why="attack", by="test")
    async with asyncio.timeout(10):
        while isinstance(await world.calendar.guard.check_token(fields), Challenge):
            await asyncio.sleep(0.05)
    return await world.knock(world.entrance(Door.GUARD), with_token(wire, token))


async def _used(world: World) -> str:
    """A token whose call has been made."""
    token = _minted(world)
    seen = await _send(world, CALL, token)
    assert seen.outcome == ("200", None, 0, 1), seen
    return token


async def _twice(world: World) -> Mapping[str, Seen]:
    respelt = replace(CALL, body=json.dumps(json.loads(CALL.body), indent=1).encode())
    other_id = replace(CALL, body=CALL.body.replace(b'"id":1', b'"id":2'))
    return {
        "the same bytes": await _send(world, CALL, await _used(world)),
        "another id": await _send(world, other_id, await _used(world)),
        "another spelling": await _send(world, respelt, await _used(world)),
    }


async def _others(world: World, others: Mapping[str, Wire]) -> Mapping[str, Seen]:
    return {name: await _send(world, wire, _minted(world)) for name, wire in others.items()}


async def _other_arguments(world: World) -> Mapping[str, Seen]:
    wires = {
        "another value": a_call("list_events", {"day": "another"}),
        "one more": a_call("list_events", {"day": ARGUMENT, "more": 1}),
        "none": a_call("list_events", {}),
        "beside them": a_request("tools/call", {"name": "list_events", "arguments": {"day": ARGUMENT}, "task": {}}),
    }
    return await _others(world, wires)


async def _other_calls(world: World) -> Mapping[str, Seen]:
    wires = {
        "another tool": a_call("create_event", {"day": ARGUMENT}),
        "a list": a_request("tools/list", {}),
        "a prompt of its name": a_request("prompts/get", {"name": "list_events", "arguments": {"day": ARGUMENT}}),
    }
    bodyless = Wire(method="GET", headers=(("accept", "text/event-stream"), ("mcp-protocol-version", "2025-11-25")))
    return await _others(world, wires | {"a stream": bodyless, "an end": replace(bodyless, method="DELETE")})


def _of_no_call(world: World, door: Door) -> str:
    digests = {"arguments_sha256": "x" * 43, "params_sha256": "x" * 43}
    detail = {"type": "mcp_call", "method": "tools/call", "name": "list_events", **digests}
    return world.forge(world.entrance(door).audience, exp=world.now + 31, authorization_details=[detail])


async def _of_no_call_at_gateway(world: World) -> Seen:
    return await world.knock(world.entrance(Door.GATEWAY), with_token(CALL, _of_no_call(world, Door.GATEWAY)))


async def _of_no_call_at_guard(world: World) -> Seen:
    return await _send(world, CALL, _of_no_call(world, Door.GUARD))


async def _unbound(world: World) -> Mapping[str, Seen]:
    """The binding is part of what is signed: taken out or changed, the signature is not the token's."""
    guard = world.entrance(Door.GUARD)
    token = _minted(world)
    signature = token.rsplit(".", 1)[1]
    changed = {
        "taken out": forge.ABSENT,
        "of another call": _bound(a_call("create_event", {"day": ARGUMENT}))["authorization_details"],
    }
    sights = {}
    for name, details in changed.items():
        head = world.forge(guard.audience, authorization_details=details).rsplit(".", 1)[0]
        sights[name] = await _send(world, CALL, f"{head}.{signature}")
    return sights


async def _of_the_past(world: World) -> Seen:
    """A guard that began after the token was issued cannot know whether it was used."""
    began = int(world.began)
    token = _minted(world, iat=began - 1, exp=began + 29)
    world.clock.now, now = began + 1, world.clock.now
    try:
        return await _send(world, CALL, token)
    finally:
        world.clock.now = max(now, world.clock.now)


ONLY = "the gateway makes such tokens for servers and takes none: see `token-for-one-call`"
SOURCE = "RFC 9396 §2; RFC 9449 §11.1"

ROWS: tuple[Row, ...] = (
    tried_at(
        "token-for-one-call",
        "a token that is bound to another call than any",
        SOURCE,
        {Door.GATEWAY: (_of_no_call_at_gateway, MISMATCH), Door.GUARD: (_of_no_call_at_guard, MISMATCH)},
    ),
    tried(
        "call-token-twice",
        "a token for one call, used twice",
        SOURCE,
        Door.GUARD,
        _twice,
        refused("token.replayed"),
        only=ONLY,
    ),
    tried(
        "call-token-other-arguments",
        "a token for one call, with other arguments",
        SOURCE,
        Door.GUARD,
        _other_arguments,
        MISMATCH,
        only=ONLY,
    ),
    tried(
        "call-token-other-call",
        "a token for one call, with another call",
        SOURCE,
        Door.GUARD,
        _other_calls,
        MISMATCH,
        only=ONLY,
    ),
    tried(
        "call-token-unbound",
        "a token for one call whose binding is taken out or changed",
        SOURCE,
        Door.GUARD,
        _unbound,
        Expected("401 invalid_token", "token.signature"),
        only=ONLY,
    ),
    tried(
        "call-token-from-before-the-server",
        "a call token that was issued before the server began",
        SOURCE,
        Door.GUARD,
        _of_the_past,
        refused("token.replayed"),
        only=ONLY,
    ),
)
