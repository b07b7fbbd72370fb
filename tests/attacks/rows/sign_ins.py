"""How new a person's sign-in is: nothing but a sign-in makes it newer, and nothing on the way loses it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.rows.refresh import refreshing
from tests.attacks.tries import MakeToken, Target, asking, bearer, refused, tried
from tests.attacks.visitors import Visitor, a_query, redeeming
from tests.attacks.world import Parameters, World, claims_in

PASSES = Expected("200", None, records=1, passed=1)
LATER = 120
"""Seconds after the sign-in."""


def _odd_sign_ins(target: Target) -> dict[str, MakeToken]:
    """Under our own key: what a token of ours never says of a sign-in. Made when they are sent."""
    return {
        "after the token": lambda t: t.claiming(iat=t.now, auth_time=t.now + 1),
        "tomorrow": lambda t: t.claiming(auth_time=t.now + 86400),
        "as text": lambda t: t.claiming(auth_time=str(t.now - 1)),
        "with a fraction": lambda t: t.claiming(auth_time=t.now - 0.5),
        "true": lambda t: t.claiming(auth_time=True),
        "null": lambda t: t.claiming(auth_time=None),
        "a list of ways": lambda t: t.claiming(acr=["gold"]),
        "an empty way": lambda t: t.claiming(acr=""),
    }


def _wishes(world: World) -> Mapping[str, str]:
    """What somebody adds to a token request who would like the sign-in to be newer, or another."""
    return {"auth_time": str(world.now), "max_age": "0", "acr": "gold", "acr_values": "gold", "prompt": "login"}


async def _granted(world: World) -> dict[str, str]:
    async with Visitor(world) as ann:
        code = await ann.code(a_query(world))
    return dict((await world.ask(redeeming(code))).message)


async def _kept(world: World, since: int, form: Parameters) -> dict[str, Seen]:
    """Ask with every wish, and see that the token says of the sign-in what it said before."""
    seen = (await asking(lambda _: form)(world))[""]
    assert seen.answer is not None
    claims = claims_in(seen.answer.message["access_token"])
    assert (claims["auth_time"], "acr" in claims) == (since, False)
    assert claims["iat"] >= since + LATER
    return {"": seen}


async def _refreshed(world: World) -> dict[str, Seen]:
    granted = await _granted(world)
    since = claims_in(granted["access_token"])["auth_time"]
    before = world.clock.now
    world.clock.now += LATER
    try:
        return await _kept(world, since, refreshing(granted["refresh_token"], **_wishes(world)))
    finally:
        world.clock.now = before


async def _exchanged(world: World) -> dict[str, Seen]:
    """Through the gateway, and from the server behind it to the next."""
    since = world.now - LATER
    inbound = world.forge(world.at.uri("calendar"), sub="user:ann", auth_time=since)
    received = await world.received(inbound)
    assert claims_in(received)["auth_time"] == since
    wishes = tuple(_wishes(world).items())
    return await _kept(world, since, world.exchange("calendar-server", received, world.at.uri("rooms"), *wishes))


ROWS: tuple[Row, ...] = (
    bearer(
        "sign-in-of-the-future",
        "a token whose person signs in after it was issued, or at no time that there is",
        "RFC 9068 §2.2.1; RFC 9470 §6",
        _odd_sign_ins,
        refused("token.malformed"),
    ),
    tried(
        "refresh-renews-sign-in",
        "a refresh that would pass for a sign-in",
        "RFC 9470 §6.1; RFC 9068 §2.2.1",
        Door.STS,
        _refreshed,
        PASSES,
    ),
    tried(
        "exchange-renews-or-drops-sign-in",
        "an exchange after which the sign-in is newer, another, or forgotten",
        "RFC 8693 §2.2; RFC 9470 §6.1",
        Door.STS,
        _exchanged,
        PASSES,
    ),
)
