"""Sessions of the handshake revisions: an id is no credential, and good for nobody else."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

from perhop.rules.session_seal import SEAL_SECONDS
from tests.attacks.row import PASSES_GATEWAY, PASSES_GUARD, Door, Expected, Row, Seen
from tests.attacks.tries import BOTH, refused, tried, tried_at
from tests.attacks.world import ARGUMENT, World, a_call, with_token
from tests.support.doors import Wire
from tests.support.leaks.secrets import Kind
from tests.support.upstreams import legacy

MISMATCH = Expected("404", "session.mismatch")
THE_SDKS = Expected("404 -32600", None, records=0, passed=1)
"""The official SDK's own answer: the guard has let the token through, and the session is not this caller's."""

SDK_KEEPS = (
    "behind a guard the SDK keeps the sessions, in its own words; it tells callers by issuer, client and subject"
)
SEALED = "behind a guard sessions and events are the server's own, and end with its process"


def _legacy(method: str, params: Any = None, **headers: str) -> Wire:
    fields, body = legacy(method, params)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Wire(headers=tuple((fields | named).items()), body=body)


def _listing(session: str) -> Wire:
    return _legacy("tools/list", mcp_session_id=session)


async def _open_at(world: World, door: Door, **claims: Any) -> str:
    """A session of a good caller, as the caller knows it."""
    entrance = world.entrance(door)
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    token = world.forge(entrance.audience, **claims)
    seen = await world.knock(entrance, with_token(_legacy("initialize", params), token))
    assert seen.outcome == (PASSES_GATEWAY if door is Door.GATEWAY else PASSES_GUARD).outcome
    assert seen.answer is not None
    session = seen.answer.header("mcp-session-id")
    assert session is not None
    return world.leaks.note(session, Kind.SESSION)


async def _opened(world: World, **claims: Any) -> tuple[str, str]:
    """A session at the gateway: its id as the caller knows it, and the server's own."""
    session = await _open_at(world, Door.GATEWAY, **claims)
    return session, await _inner(world, session, **claims)


async def _inner(world: World, session: str, **claims: Any) -> str:
    """The server's own id, as the server hears it when the session is used."""
    entrance = world.entrance(Door.GATEWAY)
    said = Wire(headers=_listing(session).headers, body=_notification())
    seen = await world.knock(entrance, with_token(said, world.forge(entrance.audience, **claims)))
    assert seen.passed == 1
    inner = world.calendar.from_gateway.arrived[-1].header("mcp-session-id")
    assert inner not in (None, session)
    return str(inner)


def _notification() -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()


async def _foreign(world: World) -> dict[str, Seen]:
    session, _ = await _opened(world, sub="user:ann")
    callers = {
        "another subject": {"sub": "user:bob"},
        "another agent": {"sub": "user:ann", "agent": "mallory"},
        "another tenant": {"sub": "user:ann", "tenant": "beta"},
    }
    return {name: await _use(world, session, **claims) for name, claims in callers.items()}


async def _foreign_at_guard(world: World) -> dict[str, Seen]:
    """The same past the gateway; whose work a client does, and for which tenant, the SDK does not ask."""
    session = await _open_at(world, Door.GUARD, sub="user:ann")
    callers = {
        "another subject": {"sub": "user:bob"},
        "another client": {"sub": "user:ann", "client_id": "mallory"},
        "both": {"sub": "user:bob", "client_id": "mallory"},
    }
    return {name: await _use(world, session, door=Door.GUARD, **claims) for name, claims in callers.items()}


async def _use(world: World, session: str, *, door: Door = Door.GATEWAY, **claims: Any) -> Seen:
    entrance = world.entrance(door)
    return await world.knock(entrance, with_token(_listing(session), world.forge(entrance.audience, **claims)))


async def _forged(world: World) -> dict[str, Seen]:
    session, inner = await _opened(world)
    flipped = bytearray(base64.urlsafe_b64decode(session + "=" * (-len(session) % 4)))
    flipped[-1] ^= 1
    sessions = {
        "the server's own": inner,
        "guessed": "1",
        "flipped": base64.urlsafe_b64encode(bytes(flipped)).decode().rstrip("="),
        "cut": session[:-4],
        "padded": f"{session}==",
        "another alphabet": f"{session[:-1]}+",
        "too long": session * 60,
        "path": "../../etc/passwd",
        "non-ASCII": "\xe9" * 40,
    }
    return {name: await _use(world, each) for name, each in sessions.items()}


async def _forged_at_guard(world: World) -> dict[str, Seen]:
    session = await _open_at(world, Door.GUARD)
    sessions = ("1", session[:-1], f"{session}0", session.upper(), f"{session}, {session}", "../../etc/passwd")
    return {each: await _use(world, each, door=Door.GUARD) for each in sessions}


async def _at_another_resource(door: Door, world: World) -> Seen:
    session = await _open_at(world, door)
    entrance = world.entrance(door, "rooms")
    token = world.forge(entrance.audience, scope="rooms:read")
    return await world.knock(entrance, with_token(_listing(session), token))


async def _too_old(world: World) -> Seen:
    session, _ = await _opened(world)
    world.clock.now += SEAL_SECONDS
    try:
        return await _use(world, session)
    finally:
        world.clock.now -= SEAL_SECONDS


async def _alone(door: Door, world: World) -> Seen:
    session = await _open_at(world, door)
    return await world.knock(world.entrance(door), _listing(session))


async def _twice(door: Door, world: World) -> dict[str, Seen]:
    """Two ids, of a session or of an event, also twice the same: of two readers each could take one."""
    entrance = world.entrance(door)
    session = await _open_at(world, door)
    wire = _listing(session)
    stream = Wire(method="GET", headers=wire.headers)
    doubled = {
        "the same": (wire, ("mcp-session-id", session)),
        "another": (wire, ("mcp-session-id", "1")),
        "another case of the name": (wire, ("Mcp-Session-Id", "1")),
        "on a stream": (stream, ("mcp-session-id", "1")),
    }
    sights = {}
    for name, (each, more) in doubled.items():
        twice = Wire(method=each.method, headers=(*each.headers, more), body=each.body)
        sights[name] = await world.knock(entrance, with_token(twice, world.forge(entrance.audience)))
    events = Wire(method="GET", headers=(*wire.headers, ("last-event-id", "1"), ("last-event-id", "2")))
    sights["two events"] = await world.knock(entrance, with_token(events, world.forge(entrance.audience)))
    return sights


async def _in_another_era(world: World) -> Seen:
    """A revision without sessions neither reads the header nor passes it on."""
    entrance = world.entrance(Door.GATEWAY)
    session, _ = await _opened(world, sub="user:ann")
    call = a_call("list_events", {"day": ARGUMENT}, mcp_session_id=session, last_event_id="1")
    seen = await world.knock(entrance, with_token(call, world.forge(entrance.audience, sub="user:bob")))
    arrived = world.calendar.from_gateway.arrived[-1]
    assert (arrived.header("mcp-session-id"), arrived.header("last-event-id")) == (None, None)
    return seen


async def _in_another_era_at_guard(world: World) -> Seen:
    entrance = world.entrance(Door.GUARD)
    session = await _open_at(world, Door.GUARD, sub="user:ann")
    call = a_call("list_events", {"day": ARGUMENT}, mcp_session_id=session, last_event_id="1")
    return await world.knock(entrance, with_token(call, world.forge(entrance.audience, sub="user:bob")))


async def _resumed(world: World) -> dict[str, Seen]:
    """Event ids are sealed like sessions: a stream of somebody else's is not resumed."""
    entrance = world.entrance(Door.GATEWAY)
    session, _ = await _opened(world)
    token = world.forge(entrance.audience)
    events = {"guessed": "1", "a session's id": session, "path": "../1"}
    sights = {}
    for name, event in events.items():
        wire = _listing(session)
        stream = Wire(method="GET", headers=(*wire.headers, ("last-event-id", event)))
        sights[name] = await world.knock(entrance, with_token(stream, token))
    return sights


async def _answers_nobody_asked_for(door: Door, world: World) -> dict[str, Seen]:
    """A response goes on only to a request that the server of this very session has open."""
    entrance = world.entrance(door)
    session = await _open_at(world, door)
    sights = {}
    for name, rpc_id in (("number", 1), ("text", "1"), ("the caller's own", 0)):
        body = json.dumps({"jsonrpc": "2.0", "id": rpc_id, "result": {"action": "accept"}}).encode()
        wire = Wire(headers=_listing(session).headers, body=body)
        sights[name] = await world.knock(entrance, with_token(wire, world.forge(entrance.audience)))
    return sights


ROWS: tuple[Row, ...] = (
    tried_at(
        "foreign-session",
        "another principal's session, under a good token of one's own",
        "MCP security best practices; CVE-2026-33946",
        {Door.GATEWAY: (_foreign, MISMATCH), Door.GUARD: (_foreign_at_guard, THE_SDKS)},
        differs=SDK_KEEPS,
    ),
    tried_at(
        "forged-session",
        "a session id that was guessed, changed, or is the server's own",
        "MCP security best practices",
        {Door.GATEWAY: (_forged, MISMATCH), Door.GUARD: (_forged_at_guard, THE_SDKS)},
        differs=SDK_KEEPS,
    ),
    tried_at(
        "session-at-another-resource",
        "a session at another resource than its own",
        "MCP security best practices",
        {
            Door.GATEWAY: (partial(_at_another_resource, Door.GATEWAY), MISMATCH),
            Door.GUARD: (partial(_at_another_resource, Door.GUARD), THE_SDKS),
        },
        differs=SDK_KEEPS,
    ),
    tried(
        "session-too-old",
        "a session after a day",
        "MCP 2025-11-25 transports",
        Door.GATEWAY,
        _too_old,
        MISMATCH,
        only=SEALED,
    ),
    tried_at(
        "session-as-credential",
        "a session id and no token",
        "MCP security best practices",
        {door: (partial(_alone, door), refused("token.malformed", "401")) for door in BOTH},
    ),
    tried_at(
        "session-twice",
        "two session ids, or two event ids, in one request",
        "RFC 9110 §5.3",
        {door: (partial(_twice, door), refused("header.mismatch", "400 -32020")) for door in BOTH},
    ),
    tried_at(
        "session-in-another-era",
        "a session id under a revision that has none",
        "MCP 2026-07-28 transports",
        {
            Door.GATEWAY: (_in_another_era, PASSES_GATEWAY),
            Door.GUARD: (_in_another_era_at_guard, PASSES_GUARD),
        },
    ),
    tried(
        "foreign-event-id",
        "an event id that was not given to this session",
        "MCP 2025-11-25 transports",
        Door.GATEWAY,
        _resumed,
        MISMATCH,
        only=SEALED,
    ),
    tried_at(
        "answer-to-nothing",
        "a response to a request that no server has made",
        "MCP 2025-11-25 base protocol",
        {
            Door.GATEWAY: (
                partial(_answers_nobody_asked_for, Door.GATEWAY),
                refused("request.malformed", "400 -32600"),
            ),
            Door.GUARD: (
                partial(_answers_nobody_asked_for, Door.GUARD),
                Expected("202", None, records=0, passed=1),
            ),
        },
        differs="behind a guard the server knows what it has asked: the SDK drops what answers nothing, and says 202",
    ),
)
