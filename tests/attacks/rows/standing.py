"""What was good until somebody took it back: revoked tokens, disabled agents, revoked keys, restarts."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from perhop.authorization_server.app import build_app
from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.standing import Standing
from perhop.errors import TokenRevoked
from perhop.founding import found
from perhop.resource_server.trusted_issuer import MAX_MAX_AGE
from perhop.settings import Settings, load
from perhop.tokens.keys import KeyState
from perhop.wiring.opening import open_plane
from perhop.wiring.plane import Plane
from tests.attacks.configuration import Addresses, write_configuration
from tests.attacks.row import Door, Row, Seen
from tests.attacks.tries import BOTH, asking, refused, tried, tried_at
from tests.attacks.visitors import Visitor, a_query, redeeming
from tests.attacks.world import ARGUMENT, Parameters, World, a_call, claims_in, with_token
from tests.support.doors import Answer
from tests.support.forge import sign
from tests.support.leaks.secrets import Kind

REVOKED = refused("token.revoked")
CALL = a_call("list_events", {"day": ARGUMENT})
STANDING = "standing is looked up where agents, owners and resources are defined; a guard hears of revocations alone"
BOUND_SECONDS = 2
"""What is promised: so long after a revocation a guard whose feed is up still admits, at most."""


async def _revoke(world: World, kind: RevokedObject, value: str) -> None:
    await world.plane.issuer.revoker.revoke(kind, value, why="an attack", by="tests")


async def _refused_at(world: World, door: Door, token: str) -> Seen:
    """What the door says to a token that was revoked; a guard has to hear of it first, in bounded time."""
    entrance, now = world.entrance(door), world.clock.now
    seen = await world.knock(entrance, with_token(CALL, token))
    if door is Door.GUARD:
        async with asyncio.timeout(BOUND_SECONDS):
            while seen.passed:
                # It is the wire that takes time here, and not the clock by which the token would expire.
                world.clock.now = now
                seen = await world.knock(entrance, with_token(CALL, token))
    return seen


def _revoked(door: Door) -> Any:
    async def attempt(world: World) -> dict[str, Seen]:
        audience = world.entrance(door).audience
        person = f"user:{door.value}"
        kinds: dict[str, tuple[RevokedObject, str, dict[str, Any]]] = {
            "token": (RevokedObject.TOKEN, f"{door.value}-7", {"jti": f"{door.value}-7"}),
            "subject": (RevokedObject.SUBJECT, person, {"sub": person}),
            "tenant": (RevokedObject.TENANT, f"{door.value}-tenant", {"tenant": f"{door.value}-tenant"}),
        }
        sights = {}
        for name, (kind, value, changes) in kinds.items():
            token = world.forge(audience, **changes)
            assert (await world.knock(world.entrance(door), with_token(CALL, token))).passed == 1
            await _revoke(world, kind, value)
            sights[name] = await _refused_at(world, door, token)
        return sights

    return attempt


def _two_revocations(door: Door) -> Any:
    """A subject is revoked early and its tenant late: the later one counts for what was issued in between."""

    async def attempt(world: World) -> dict[str, Seen]:
        audience = world.entrance(door).audience
        tenant, person = f"two-{door.value}", f"user:two-{door.value}"
        await _revoke(world, RevokedObject.SUBJECT, person)
        world.clock.now += 10
        between = world.forge(audience, sub=person, tenant=tenant)
        world.clock.now += 10
        await _revoke(world, RevokedObject.TENANT, tenant)
        seen = await _refused_at(world, door, between)
        world.clock.now += 1
        after = world.forge(audience, sub=person, tenant=tenant)
        assert (await world.knock(world.entrance(door), with_token(CALL, after))).passed == 1
        return {"in between": seen}

    return attempt


async def _child_of_revoked(world: World) -> dict[str, Seen]:
    """Descendants go with their parent: the one along a hop, and the one at the server behind it."""
    parent = await world.token()
    received = await world.received(parent)
    child = (await world.ask(world.exchange("calendar-server", received, world.at.uri("rooms")))).message[
        "access_token"
    ]
    assert (await world.received(child, "rooms")) != ""
    await _revoke(world, RevokedObject.TOKEN, claims_in(parent)["jti"])
    rooms = world.entrance(Door.GATEWAY, "rooms")
    wire = with_token(a_call("find_room", {"day": ARGUMENT}), child)
    return {
        "child": await world.knock(rooms, wire),
        "parent": await world.knock(world.entrance(Door.GATEWAY), with_token(CALL, parent)),
    }


async def _hop_token_of_revoked(world: World) -> Seen:
    """What the gateway got for a call is worthless past it once the caller's token is revoked."""
    parent = await world.token()
    received = await world.received(parent)
    await _revoke(world, RevokedObject.TOKEN, claims_in(parent)["jti"])
    return await _refused_at(world, Door.GUARD, received)


@asynccontextmanager
async def _standing(world: World, kind: str, name: str) -> AsyncIterator[None]:
    """This object is disabled while the block runs; its tokens are not revoked, so that only standing speaks."""
    standing: Standing = world.plane.issuer.standing
    await standing.disable(kind, name, why="an attack", now=world.now)
    try:
        yield
    finally:
        await standing.enable(kind, name, now=world.now)


def _out_of_standing(kind: str, name: str, **claims: Any) -> Any:
    async def attempt(world: World) -> Seen:
        entrance = world.entrance(Door.GATEWAY)
        token = world.forge(entrance.audience, **claims)
        async with _standing(world, kind, name):
            seen = await world.knock(entrance, with_token(CALL, token))
        assert (await world.knock(entrance, with_token(CALL, token))).passed == 1
        return seen

    return attempt


def _asking_while_out(kind: str, name: str) -> Any:
    async def attempt(world: World) -> Seen:
        async with _standing(world, kind, name):
            form = [
                ("grant_type", "client_credentials"),
                ("resource", world.at.uri("calendar")),
                *world.proof("planner"),
            ]
            return (await asking(lambda _: form)(world))[""]

    return attempt


def _unknown_agent(door: Door) -> Any:
    async def attempt(world: World) -> dict[str, Seen]:
        entrance = world.entrance(door)
        changes = {
            "agent": {"agent": "nobody"},
            "presenter": {"client_id": "nobody"},
            "both": {"sub": "nobody", "client_id": "nobody"},
        }
        return {
            name: await world.knock(entrance, with_token(CALL, world.forge(entrance.audience, **each)))
            for name, each in changes.items()
        }

    return attempt


def _after_expiry(door: Door) -> Any:
    """The client's last day is over: time moves on by decades, and back."""

    async def attempt(world: World) -> Seen:
        now, world.clock.now = world.clock.now, 4_102_444_800.0
        try:
            entrance = world.entrance(door)
            if door is Door.GATEWAY:
                return await world.knock(entrance, with_token(CALL, world.forge(entrance.audience)))
            form = [
                ("grant_type", "client_credentials"),
                ("resource", world.at.uri("calendar")),
                *world.proof("planner"),
            ]
            return (await asking(lambda _: form)(world))[""]
        finally:
            world.clock.now = now

    return attempt


def _killed_key(door: Door) -> Any:
    """A key is revoked in an emergency; guards learn it when they next fetch the keys."""

    async def attempt(world: World) -> Seen:
        issuer = world.plane.issuer
        keyring = issuer.keyring.with_states({world.retired.kid: KeyState.REVOKED})
        world.plane.issuer = dataclasses.replace(issuer, keyring=keyring)
        world.clock.now += MAX_MAX_AGE
        try:
            entrance = world.entrance(door)
            token = sign(world.claims(entrance.audience), world.retired)
            return await world.knock(entrance, with_token(CALL, token))
        finally:
            world.plane.issuer = issuer
            world.clock.now += MAX_MAX_AGE

    return attempt


Use = Callable[[World, httpx2.AsyncClient, Plane], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Before:
    """An installation that nothing has open, where an assertion was used and its token revoked. `kept` is the database
    as it was before both.
    """

    settings: Settings
    kept: Path
    used: Parameters
    token: str

    async def used_again(self, world: World) -> tuple[dict[str, Seen], Exception | None]:
        """Open it and bring the assertion once more; what is seen, and how the token is refused."""
        async with _opened(self.settings, world) as (plane, http):
            again = await http.post("/token", data=dict(self.used))
            seen = Answer(again.status_code, tuple(again.headers.multi_items()), again.content)
            reason = plane.reader.tail(1)[0].text("reason")
            try:
                plane.issuer.revocations.check(plane.verify_here(self.token))
            except TokenRevoked as refusal:
                refused_for: Exception | None = refusal
            else:
                refused_for = None
        return {"assertion": Seen(observed=seen.observed, reason=reason, records=1, answer=seen)}, refused_for


@asynccontextmanager
async def _used_up(world: World) -> AsyncIterator[Before]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        at = Addresses.free(**dict.fromkeys(("calendar", "rooms", "scripted"), "127.0.0.1:1"))
        keys = write_configuration(folder, at)
        await found(folder, environ={}, clock=world.clock)
        shutil.copy(folder / "perhop.db", folder / "kept.db")
        twin = dataclasses.replace(world, at=at, keys=keys)
        used = [("grant_type", "client_credentials"), ("resource", at.uri("calendar")), *twin.proof("planner")]
        world.leaks.note(dict(used)["client_assertion"], Kind.ASSERTION)
        settings = load(folder / "perhop.yaml", os.environ)
        async with _opened(settings, world) as (plane, http):
            first = await http.post("/token", data=dict(used))
            assert first.status_code == 200
            token = world.leaks.note(first.json()["access_token"])
            await plane.issuer.revoker.revoke(RevokedObject.TOKEN, claims_in(token)["jti"], why="x", by="tests")
        yield Before(settings, folder / "kept.db", used, token)


async def _after_restart(world: World) -> dict[str, Seen]:
    """What was used up before a restart is used up after it, and what was revoked is revoked."""
    async with _used_up(world) as before:
        seen, refused_for = await before.used_again(world)
    assert refused_for is not None
    return seen


async def _after_backup(world: World) -> dict[str, Seen]:
    """The database of before comes back: it knows neither the revocation nor that the assertion was used."""
    async with _used_up(world) as before:
        shutil.copy(before.kept, before.settings.database_path)
        world.clock.now += 1
        seen, refused_for = await before.used_again(world)
    assert refused_for is not None
    return seen


@asynccontextmanager
async def _opened(settings: Settings, world: World) -> AsyncIterator[tuple[Plane, httpx2.AsyncClient]]:
    async with open_plane(settings, clock=world.clock, record_start=False) as plane:
        app = build_app(settings.issuer, plane.current_issuer)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=settings.issuer) as http:
            yield plane, http


async def _code_after_revocation(world: World) -> Seen:
    """Whoever took a person's access back between consent and code has taken the code, too."""
    async with Visitor(world) as ann:
        code = await ann.code(a_query(world))
        first = await world.ask(redeeming(code))
        subject = claims_in(first.message["access_token"])["sub"]
        code = await ann.code(a_query(world))
    await _revoke(world, RevokedObject.SUBJECT, subject)
    return (await asking(lambda _: {"": redeeming(code)})(world))[""]


CLIENT_DISABLED = refused("client.disabled")
ROWS: tuple[Row, ...] = (
    tried_at(
        "revoked-token",
        "a token after it, its person or its tenant was revoked",
        "RFC 7009 §2.1; AISVS 9.5.6",
        {door: (_revoked(door), REVOKED) for door in BOTH},
    ),
    tried_at(
        "two-revocations",
        "two revocations that reach differently far: the later one counts",
        "CVE-2026-8922",
        {door: (_two_revocations(door), REVOKED) for door in BOTH},
    ),
    tried(
        "revoked-parent-live-child",
        "a token that came from one that was revoked",
        "RFC 7009 §2.1",
        Door.GATEWAY,
        _child_of_revoked,
        REVOKED,
        only="who goes past the gateway with a hop token is the row `revoked-parent-hop-token`",
    ),
    tried(
        "revoked-parent-hop-token",
        "a hop token that came from one that was revoked",
        "RFC 7009 §2.1",
        Door.GUARD,
        _hop_token_of_revoked,
        REVOKED,
        only="a hop token is good at no gateway",
    ),
    tried(
        "disabled-agent",
        "an agent that was disabled keeps calling",
        "OWASP NHI1",
        Door.GATEWAY,
        _out_of_standing("client", "planner"),
        CLIENT_DISABLED,
        only=STANDING,
    ),
    tried(
        "disabled-presenter",
        "a chain whose presenter was disabled",
        "OWASP NHI1",
        Door.GATEWAY,
        _out_of_standing("client", "mallory", client_id="mallory", agent="planner"),
        CLIENT_DISABLED,
        only=STANDING,
    ),
    tried(
        "unknown-agent",
        "a token of an agent that nobody has defined",
        "OWASP NHI1",
        Door.GATEWAY,
        _unknown_agent(Door.GATEWAY),
        CLIENT_DISABLED,
        only=STANDING,
    ),
    tried(
        "disabled-resource",
        "a resource that was disabled",
        "OWASP NHI1",
        Door.GATEWAY,
        _out_of_standing("resource", "calendar"),
        REVOKED,
        only=STANDING,
    ),
    tried(
        "agent-without-owner",
        "the owner has left, and the agent keeps calling",
        "OWASP NHI1",
        Door.GATEWAY,
        _out_of_standing("owner", "team"),
        refused("owner.missing", "503 -31503"),
        only=STANDING,
    ),
    tried_at(
        "expired-agent",
        "an agent after its last day",
        "OWASP NHI1",
        {
            Door.GATEWAY: (_after_expiry(Door.GATEWAY), refused("client.expired")),
            Door.STS: (_after_expiry(Door.STS), refused("client.expired", "401 invalid_client")),
        },
        only=STANDING,
    ),
    tried(
        "disabled-client-asks",
        "a disabled client asks for a token",
        "OWASP NHI1",
        Door.STS,
        _asking_while_out("client", "planner"),
        refused("client.disabled", "401 invalid_client"),
    ),
    tried(
        "token-for-a-disabled-resource",
        "a token for a resource that was disabled",
        "RFC 8707 §2",
        Door.STS,
        _asking_while_out("resource", "calendar"),
        refused("audience.mismatch", "400 invalid_target"),
    ),
    tried(
        "token-without-owner",
        "a token while nobody answers for client and resource",
        "OWASP NHI1",
        Door.STS,
        _asking_while_out("owner", "team"),
        refused("owner.missing", "503 temporarily_unavailable"),
    ),
    tried_at(
        "revoked-key",
        "a token under a key that was revoked",
        "NIST SP 800-57 §8.3.5",
        {door: (_killed_key(door), refused("token.signature")) for door in BOTH},
    ),
    tried(
        "replay-after-restart",
        "what was used up before a restart",
        "CVE-2026-9802",
        Door.STS,
        _after_restart,
        refused("assertion.replayed", "401 invalid_client"),
    ),
    tried(
        "backup-that-forgets-revocations",
        "a database put back that knows neither what was revoked nor what was used",
        "CVE-2026-9802",
        Door.STS,
        _after_backup,
        refused("client.authentication", "401 invalid_client"),
    ),
    tried(
        "code-after-revocation",
        "a code whose person was revoked before it was redeemed",
        "RFC 7009 §2.1",
        Door.STS,
        _code_after_revocation,
        refused("request.malformed", "400 invalid_grant"),
    ),
)
