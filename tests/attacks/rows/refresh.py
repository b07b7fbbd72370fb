"""Refresh tokens at the token endpoint and at the doors: good once, for one client, one resource, what was allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from perhop.authorization_server.refresh_families import IDLE_LIFETIME
from tests.attacks.row import Door, Row, Seen
from tests.attacks.tries import Target, asking, bearer, refused, seen_at_sts, sts, tried
from tests.attacks.visitors import Visitor, a_query, redeeming
from tests.attacks.world import Parameters, World, a_request, with_token
from tests.support.doors import Answer

GRANT = "400 invalid_grant"


def refreshing(token: str, **changes: str | None) -> Parameters:
    """The parameters with which desk-app refreshes, changed or (None) left out."""
    usual: dict[str, str | None] = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "desk-app"}
    return [(name, value) for name, value in (usual | changes).items() if value is not None]


async def _granted(world: World) -> dict[str, Any]:
    """What desk-app gets for a code that a person gave in good faith."""
    async with Visitor(world) as ann:
        code = await ann.code(a_query(world))
    return dict((await world.ask(redeeming(code))).message)


async def _refresh(world: World, form: Parameters) -> Seen:
    return (await asking(lambda _: form)(world))[""]


def _misused(make: Callable[[World, str], dict[str, Parameters]]) -> Any:
    """Get a refresh token in good faith, misuse it in every way, and see that it is good for its client still."""

    async def attempt(world: World) -> dict[str, Seen]:
        token = (await _granted(world))["refresh_token"]
        sights = dict(await asking(lambda w: make(w, token))(world))
        assert (await world.ask(refreshing(token))).status == 200
        return sights

    return attempt


def _other_clients(world: World, token: str) -> dict[str, Parameters]:
    return {
        "another client": refreshing(token, client_id="other-app"),
        "another one on this machine": refreshing(token, client_id="laptop-app"),
    }


def _other_resources(world: World, token: str) -> dict[str, Parameters]:
    return {
        "another": refreshing(token, resource=world.at.uri("rooms")),
        "a slash more": refreshing(token, resource=world.at.uri("calendar") + "/"),
        "the server itself": refreshing(token, resource=f"http://{world.at.calendar_past}/mcp"),
        "as audience": refreshing(token, audience=world.at.uri("rooms")),
    }


def _two_resources(world: World, token: str) -> dict[str, Parameters]:
    uri = world.at.uri("calendar")
    return {
        "another one": [*refreshing(token, resource=uri), ("resource", world.at.uri("rooms"))],
        "the same twice": [*refreshing(token, resource=uri), ("resource", uri)],
    }


def _wider_scopes(world: World, token: str) -> dict[str, Parameters]:
    odd = ("calendar:write", "calendar:read calendar:write", "rooms:read", "*", "offline_access", "CALENDAR:READ")
    return {scope: refreshing(token, scope=scope) for scope in odd}


async def _reused(world: World) -> dict[str, Seen]:
    """Who comes second ends the family: the token of the first, the next refresh token, and the spent one again."""
    first = await _granted(world)
    second = (await world.ask(refreshing(first["refresh_token"]))).message
    assert (await world.received(second["access_token"])) != ""
    sights = {"": await _refresh(world, refreshing(first["refresh_token"]))}
    for granted in (first, second):
        knock = with_token(a_request("tools/list"), granted["access_token"])
        again = await world.knock(world.entrance(Door.GATEWAY), knock)
        assert (again.observed, again.reason) == ("401 invalid_token", "token.revoked")
    dead = await _refresh(world, refreshing(second["refresh_token"]))
    assert (dead.observed, dead.reason, dead.passed) == (GRANT, "token.revoked", 0)
    return sights


async def _at_once(world: World) -> dict[str, Seen]:
    """Of many uses at once one succeeds, and what it got is dead when the others are answered."""
    token = (await _granted(world))["refresh_token"]
    size = world.reader.size()
    answers: list[Answer] = await asyncio.gather(*(world.ask(refreshing(token)) for _ in range(8)))
    assert sorted(each.status for each in answers) == [200] + [400] * 7
    last = seen_at_sts(world, max(answers, key=lambda each: each.status), size)
    won = next(each for each in answers if each.status == 200).message
    after = await _refresh(world, refreshing(won["refresh_token"]))
    assert (after.observed, after.reason) == (GRANT, "token.revoked")
    return {"the losers": Seen(observed=last.observed, reason="refresh.reused", records=1)}


async def _after_revocation(world: World) -> dict[str, Seen]:
    """An access token goes, and the refresh token with it, for whatever reason it goes."""
    from perhop.authorization_server.revocation import RevokedObject

    sights = {}
    for kind, value in ((RevokedObject.AGENT, "desk-app"), (RevokedObject.RESOURCE, "calendar")):
        token = (await _granted(world))["refresh_token"]
        await world.plane.issuer.revoker.revoke(kind, value, why="an attack", by="tests")
        world.tick()
        sights[kind.value] = await _refresh(world, refreshing(token))
        world.tick()
    return sights


async def _too_late(world: World) -> dict[str, Seen]:
    """A copy that lay somewhere until nobody thought of it."""
    token = (await _granted(world))["refresh_token"]
    before = world.clock.now
    world.clock.now += IDLE_LIFETIME
    try:
        return {"": await _refresh(world, refreshing(token))}
    finally:
        world.clock.now = before


def _guessed(_: World) -> dict[str, Parameters]:
    return {name: refreshing(token) for name, token in {"guess": "x" * 43, "long": "x" * 5000, "NUL": "\0"}.items()}


async def _as_bearer(target: Target) -> str:
    return str((await _granted(target.world))["refresh_token"])


ROWS: tuple[Row, ...] = (
    tried(
        "refresh-token-reused",
        "a refresh token that was used before",
        "RFC 9700 §4.14.2; RFC 6749 §10.4",
        Door.STS,
        _reused,
        refused("refresh.reused", GRANT, records=2),
    ),
    tried(
        "refresh-token-redeemed-at-once",
        "many uses of one refresh token at once",
        "RFC 9700 §4.14.2; CVE-2026-1035",
        Door.STS,
        _at_once,
        refused("refresh.reused", GRANT),
    ),
    tried(
        "refresh-by-another-client",
        "a client with another's refresh token",
        "RFC 6749 §6",
        Door.STS,
        _misused(_other_clients),
        refused("presenter.mismatch", GRANT),
    ),
    tried(
        "refresh-for-another-resource",
        "a refresh token for another resource than was allowed",
        "RFC 8707 §2.2",
        Door.STS,
        _misused(_other_resources),
        refused("audience.mismatch", "400 invalid_target"),
    ),
    tried(
        "refresh-for-two-resources",
        "a refresh token with `resource` twice",
        "RFC 8707 §2.2",
        Door.STS,
        _misused(_two_resources),
        refused("audience.multiple", "400 invalid_target"),
    ),
    tried(
        "refresh-for-wider-scopes",
        "a refresh token for more than was allowed",
        "RFC 6749 §6",
        Door.STS,
        _misused(_wider_scopes),
        refused("scope.insufficient", "400 invalid_scope"),
    ),
    tried(
        "refresh-after-revocation",
        "a refresh token of what was revoked",
        "RFC 7009 §2.1; RFC 9700 §4.14.2",
        Door.STS,
        _after_revocation,
        refused("token.revoked", GRANT),
    ),
    tried(
        "late-refresh-token",
        "a refresh token that nobody used for two weeks",
        "RFC 9700 §4.14.2",
        Door.STS,
        _too_late,
        refused("token.expired", GRANT),
    ),
    sts(
        "guessed-refresh-token",
        "a refresh token that nobody gave",
        "RFC 6749 §10.10",
        _guessed,
        refused("request.malformed", GRANT),
    ),
    bearer(
        "refresh-token-as-bearer",
        "a refresh token where an access token belongs",
        "RFC 6749 §1.5",
        _as_bearer,
        refused("token.malformed"),
    ),
)
