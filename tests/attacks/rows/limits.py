"""Floods: of one address, of one client, of one agent, and under names that are made up for it."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from perhop.core.rate_limits import RateLimits
from tests.attacks.configuration import SECRET
from tests.attacks.row import Door, Row, Seen
from tests.attacks.tries import Ask, asking, refused, tried
from tests.attacks.world import ARGUMENT, Parameters, World, a_call, with_token

GUARD = "the guard inside a server keeps no counts: what comes past the gateway is the server's own to limit"
LIMITED = refused("limit.exceeded", "429 temporarily_unavailable")


@contextlib.contextmanager
def _limited(world: World, limits: RateLimits) -> Iterator[None]:
    """Go by these limits for a while. They are of a minute, and a second goes by with each request."""
    plane = world.plane
    before = plane.settings.rate_limits

    def go_by(chosen: RateLimits) -> None:
        plane.settings = replace(plane.settings, rate_limits=chosen)
        plane.issuer = replace(plane.issuer, rate_limits=chosen)

    go_by(limits)
    try:
        yield
    finally:
        go_by(before)


def _asking_for(world: World) -> Parameters:
    return [("grant_type", "client_credentials"), ("resource", world.at.uri("calendar"))]


async def _of_an_address(world: World) -> dict[str, Seen]:
    """Headers by which a caller names another address, other endpoints and other clients change nothing."""
    forged = ("x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip", "cf-connecting-ip", "true-client-ip")
    tries: dict[str, Ask] = {name: Ask(_asking_for(world), ((name, "198.51.100.7"),)) for name in forged}
    tries |= {path: Ask([("token", "x")], path=path) for path in ("/introspect", "/revoke", "/tasks", "/authorize")}
    tries["another client"] = Ask([*_asking_for(world), *world.proof("mallory")])
    tries["guessing"] = Ask([*_asking_for(world), ("client_id", "poster"), ("client_secret", SECRET + "x")])
    sights: dict[str, Seen] = {}
    with _limited(world, RateLimits(requests_per_address=1)):
        await world.ask(_asking_for(world))
        for name, ask in tries.items():
            sights[name] = (await asking(lambda _, ask=ask: ask)(world))[""]
    return sights


async def _of_a_client(world: World) -> dict[str, Seen]:
    """One client, by several names of its requests; another one is answered meanwhile."""
    pair = base64.b64encode(f"second-planner:{SECRET}".encode()).decode()
    basic = (("authorization", f"Basic {pair}"),)
    tries: dict[str, Ask] = {
        "for tokens": Ask(_asking_for(world), basic),
        "to introspect": Ask([("token", "x")], basic, path="/introspect"),
        "to revoke": Ask([("token", "x")], basic, path="/revoke"),
    }
    sights: dict[str, Seen] = {}
    with _limited(world, RateLimits(requests_per_client=1)):
        await world.ask(_asking_for(world), headers=basic)
        for name, ask in tries.items():
            sights[name] = (await asking(lambda _, ask=ask: ask)(world))[""]
        assert (await world.ask([*_asking_for(world), *world.proof("mallory")])).status == 200
    return sights


async def _of_an_agent(world: World) -> dict[str, Seen]:
    """One agent, with several tokens and at several resources; another one is answered meanwhile."""
    tokens = {name: await world.token("planner", name) for name in ("calendar", "scripted")}
    other = await world.token("mallory", "calendar")
    call = a_call("list_events", {"day": ARGUMENT})
    sights: dict[str, Seen] = {}
    with _limited(world, RateLimits(calls_per_agent=1)):
        await world.knock(world.entrance(Door.GATEWAY), with_token(call, tokens["calendar"]))
        for name in ("calendar", "scripted"):
            sights[name] = await world.knock(world.entrance(Door.GATEWAY, name), with_token(call, tokens[name]))
        again: Any = with_token(call, world.forge(world.entrance(Door.GATEWAY).audience))
        sights["another token"] = await world.knock(world.entrance(Door.GATEWAY), again)
        seen = await world.knock(world.entrance(Door.GATEWAY), with_token(call, other))
        assert (seen.reason, seen.passed) == (None, 1), seen
    return sights


ROWS: tuple[Row, ...] = (
    tried(
        "flood-of-an-address",
        "too many requests of one address, which says that it is another",
        "CWE-770; RFC 6585 §4",
        Door.STS,
        _of_an_address,
        LIMITED,
    ),
    tried(
        "flood-of-a-client",
        "too many requests of one client",
        "CWE-770; RFC 6585 §4",
        Door.STS,
        _of_a_client,
        LIMITED,
    ),
    tried(
        "flood-of-an-agent",
        "too many calls of one agent, with several tokens and at several servers",
        "CWE-770; OWASP MCP",
        Door.GATEWAY,
        _of_an_agent,
        refused("limit.exceeded", "429 -31429"),
        only=GUARD,
    ),
)
