"""Introspection: whoever a token is not addressed to learns nothing of it, and what is over is told to nobody."""

from __future__ import annotations

from perhop.authorization_server.revocation import RevokedObject
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import Ask, refused, seen_at_sts, tried
from tests.attacks.world import Parameters, World, claims_in

LEARNT_NOTHING = Expected("200", None, records=0, passed=1)


async def _introspected(world: World, ask: Ask, *, active: bool = False) -> Seen:
    """Ask, and see that nothing was said, or, with `active`, that all was."""
    size = world.reader.size()
    answer = await world.ask(ask.parameters, headers=ask.headers, path=ask.path)
    if answer.status == 200:
        assert answer.message["active"] is active
        assert active or answer.message == {"active": False}
    return seen_at_sts(world, answer, size)


def _asking(world: World, token: str, proof: Parameters) -> Ask:
    return Ask([("token", token), *proof], path="/introspect")


async def _by_a_stranger(world: World) -> dict[str, Seen]:
    """Another server, an agent, and the server itself with what is addressed to the gateway."""
    token = await world.token()
    received = await world.received(token)
    return {
        name: await _introspected(world, _asking(world, raw, world.proof(client)))
        for name, client, raw in (
            ("another server", "rooms-server", received),
            ("the agent", "planner", received),
            ("a token of the gateway's callers", "calendar-server", token),
            ("a guess", "calendar-server", "x" * 43),
        )
    }


async def _by_nobody(world: World) -> dict[str, Seen]:
    """A client that shows nothing, or has nothing to show."""
    received = await world.received(await world.token())
    return {
        name: await _introspected(world, _asking(world, received, [("client_id", name)]))
        for name in ("calendar-server", "desk-app", "nobody")
    }


async def _of_revoked(world: World) -> dict[str, Seen]:
    """What was revoked is not active; before that all of it is told, the actor too."""
    received = await world.received(await world.token())
    ask = _asking(world, received, world.proof("calendar-server"))
    answer = await world.ask(ask.parameters, path=ask.path)
    assert (answer.message["active"], answer.message["act"]) == (True, claims_in(received)["act"])
    await world.plane.issuer.revoker.revoke(
        RevokedObject.TOKEN, claims_in(received)["jti"], why="an attack", by="tests"
    )
    return {"": await _introspected(world, _asking(world, received, world.proof("calendar-server")))}


ROWS: tuple[Row, ...] = (
    tried(
        "introspection-by-a-stranger",
        "a client asks about a token that is not addressed to it",
        "RFC 7662 §4",
        Door.STS,
        _by_a_stranger,
        LEARNT_NOTHING,
    ),
    tried(
        "introspection-by-nobody",
        "tokens are tried without authentication",
        "RFC 7662 §2.1",
        Door.STS,
        _by_nobody,
        refused("client.authentication", "401 invalid_client"),
    ),
    tried(
        "introspection-of-a-revoked-token",
        "a revoked token that would still be called active",
        "RFC 7662 §4",
        Door.STS,
        _of_revoked,
        LEARNT_NOTHING,
    ),
)
