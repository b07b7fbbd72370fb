"""Token exchange: nobody acts on another's token, goes elsewhere, further, or for longer than it says."""

from __future__ import annotations

from typing import Any

from perhop.authorization_server.revocation import RevokedObject
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import Ask, asking, refused, sts, tried
from tests.attacks.world import ACCESS_TOKEN_TYPE, EXCHANGE, Parameters, World, claims_in
from tests.support.forge import ABSENT, replace_signature, sign

PRESENTER = refused("presenter.mismatch", "400 invalid_request")
MALFORMED = refused("request.malformed", "400 invalid_request")
REQUEST = "400 invalid_request"


def _server(world: World) -> str:
    """The audience of the calendar's server: whose tokens `calendar-server` may exchange."""
    return f"http://{world.at.calendar_past}/mcp"


def _to_rooms(world: World, token: str, *more: tuple[str, str], by: str = "calendar-server") -> Parameters:
    return world.exchange(by, token, world.at.uri("rooms"), *more)


async def _not_the_presenter(world: World) -> dict[str, Parameters]:
    """Tokens that were not sent to the server that presents them."""
    inbound = await world.token()
    received = await world.received(inbound)
    elsewhere = world.forge(f"http://{world.at.rooms_past}/mcp", scope="rooms:read")
    return {
        "the caller's own": _to_rooms(world, inbound),
        "another server's": _to_rooms(world, elsewhere),
        "stolen by another server": world.exchange("rooms-server", received, world.at.uri("calendar")),
        "for a resource without gateway": _to_rooms(world, world.forge("https://notes.example.com/mcp")),
        "for the issuer": _to_rooms(world, world.forge(world.issuer)),
        "for a stranger": _to_rooms(world, world.forge("https://other.example.com/mcp")),
    }


def _subject(world: World, **changes: Any) -> str:
    return world.forge(_server(world), **changes)


async def _no_hop(world: World) -> dict[str, Parameters]:
    token = _subject(world)
    return {
        "back to where it came from": world.exchange("calendar-server", token, world.at.uri("calendar")),
        "to a resource that no hop names": world.exchange("calendar-server", token, world.at.uri("scripted")),
        "to one without a gateway": world.exchange("calendar-server", token, "https://notes.example.com/mcp"),
        "past the gateway": world.exchange("calendar-server", token, f"http://{world.at.rooms_past}/mcp"),
        "to its own server": world.exchange("calendar-server", token, _server(world)),
    }


def _unregistered(world: World) -> dict[str, Parameters]:
    token = _subject(world)
    uris = {"stranger": "https://evil.example/mcp", "slash": world.at.uri("rooms") + "/", "issuer": world.issuer}
    return {name: world.exchange("calendar-server", token, uri) for name, uri in uris.items()}


def _without_target(world: World) -> Parameters:
    form = world.exchange("calendar-server", _subject(world), "")
    return [(name, value) for name, value in form if name != "resource"]


def _two_targets(world: World) -> Parameters:
    return _to_rooms(world, _subject(world), ("resource", world.at.uri("scripted")))


def _forbidden(world: World) -> Parameters:
    return _to_rooms(world, _subject(world, sub="mallory", client_id="mallory"))


def _wider(world: World) -> dict[str, Parameters]:
    token = _subject(world)
    odd = {
        "one more": "rooms:read rooms:book",
        "the parent's": "calendar:write",
        "everything": "*",
        "case": "ROOMS:READ",
    }
    return {name: _to_rooms(world, token, ("scope", scope)) for name, scope in odd.items()} | {
        "a parent that maps to nothing": _to_rooms(world, _subject(world, scope="calendar:read")),
        "a parent without scopes": _to_rooms(world, _subject(world, scope=ABSENT)),
        "a parent with scopes of the target": _to_rooms(world, _subject(world, scope="rooms:read rooms:book")),
    }


def _other_types(world: World) -> dict[str, Parameters]:
    token = _subject(world)
    kind = "urn:ietf:params:oauth:token-type:"

    def typed(name: str, value: str) -> Parameters:
        form = [each for each in _to_rooms(world, token) if each[0] != name]
        return [*form, (name, value)]

    return {
        "ID token": typed("subject_token_type", f"{kind}id_token"),
        "JWT": typed("subject_token_type", f"{kind}jwt"),
        "refresh token asked for": typed("requested_token_type", f"{kind}refresh_token"),
        "ID-JAG asked for": typed("requested_token_type", f"{kind}id-jag"),
        "SAML": typed("subject_token_type", f"{kind}saml2"),
        "case": typed("subject_token_type", ACCESS_TOKEN_TYPE.upper()),
        "an actor token": _to_rooms(world, token, ("actor_token", token), ("actor_token_type", ACCESS_TOKEN_TYPE)),
        "an actor's type alone": _to_rooms(world, token, ("actor_token_type", ACCESS_TOKEN_TYPE)),
        "no subject token": [each for each in _to_rooms(world, token) if each[0] != "subject_token"],
    }


def _with_type(world: World) -> dict[str, Parameters]:
    claims, key = world.claims(_server(world)), world.key
    names = ("JWT", "oauth-id-jag+jwt", "dpop+jwt", "client-authentication+jwt", "revocations+jwt")
    return {name: _to_rooms(world, sign(claims, key, typ=name)) for name in names}


def _untrue(world: World) -> dict[str, Parameters]:
    claims = world.claims(_server(world))
    token = sign(claims, world.key)
    tokens = {
        "a stranger's key": sign(claims, world.attacker),
        "its key under our name": sign(claims, world.attacker, kid=world.key.kid),
        "the client's key": sign(claims, world.keys["calendar-server"]),
        "changed signature": replace_signature(token, bytes(64)),
        "unsigned": sign(claims, world.key, alg="none"),
    }
    return {name: _to_rooms(world, each) for name, each in tokens.items()}


def _expired(world: World) -> dict[str, Parameters]:
    now = world.now + 1
    tokens = {
        "long ago": _subject(world, iat=now - 400, exp=now - 100),
        "just now": _subject(world, iat=now - 300, exp=now),
        "within what a guard allows": _subject(world, iat=now - 301, exp=now - 1),
    }
    return {name: _to_rooms(world, token) for name, token in tokens.items()}


def _depth(world: World) -> dict[str, Parameters]:
    chain: dict[str, Any] = {"sub": "a"}
    for name in ("b", "c", "d"):
        chain = {"sub": name, "act": chain}
    with_gateways = {"sub": "gateway:calendar", "act": {"sub": "gateway:rooms", "act": chain}}
    return {
        "four before it": _to_rooms(world, _subject(world, act=chain)),
        "gateways do not count": _to_rooms(world, _subject(world, act=with_gateways)),
        "far deeper": _to_rooms(world, _subject(world, act={"sub": "x", "act": {"sub": "y", "act": chain}})),
    }


async def _cycle(world: World) -> dict[str, Parameters]:
    """Calendar, then rooms, then the calendar again."""
    received = await world.received(await world.token())
    onward = await world.ask(_to_rooms(world, received))
    at_rooms = await world.received(onward.message["access_token"], "rooms")
    return {"back": world.exchange("rooms-server", at_rooms, world.at.uri("calendar"))}


def _may_act(world: World) -> dict[str, Parameters]:
    rules: dict[str, Any] = {
        "another": {"sub": "rooms-server"},
        "others": {"sub": ["rooms-server", "planner"]},
        "another issuer's": {"sub": "calendar-server", "iss": "https://other.example.com"},
        "a prefix": {"sub": "calendar"},
    }
    return {name: _to_rooms(world, _subject(world, may_act=rule)) for name, rule in rules.items()}


def _bound(world: World) -> dict[str, Parameters]:
    return {"to a key": _to_rooms(world, _subject(world, cnf={"jkt": world.attacker.kid}))}


async def _forged_chain(world: World) -> dict[str, Seen]:
    """Who acts, for whom and in which transaction is taken from the parent, never from the request."""
    received = await world.received(await world.token())
    parent = claims_in(received)
    lies = [
        ("act", '{"sub":"admin"}'),
        ("txn", "x"),
        ("hop", "1"),
        ("sub", "user:ann"),
        ("agent", "mallory"),
        ("exp", "9" * 10),
    ]
    form = _to_rooms(world, received, *lies)
    seen = dict(await asking(lambda _: {"": form})(world))
    answer = seen[""].answer
    assert answer is not None
    child = claims_in(answer.message["access_token"])
    assert child["act"] == {"sub": "calendar-server", "act": parent["act"]}
    assert (child["sub"], child["txn"], child["agent"]) == (parent["sub"], parent["txn"], "planner")
    assert (child["hop"], child["client_id"]) == (parent["hop"] + 1, "calendar-server")
    assert (child["aud"], child["scope"]) == (world.at.uri("rooms"), "rooms:read")
    return seen


async def _no_longer(world: World) -> dict[str, Seen]:
    """A child ends with its parent, at the latest."""
    now = world.now + 1
    sights = {}
    for left in (1, 30, 59):
        token = _subject(world, iat=now - 200, exp=world.now + 1 + left)
        seen = (await asking(lambda w, token=token: {"": _to_rooms(w, token)})(world))[""]  # type: ignore[misc]
        assert seen.answer is not None
        assert claims_in(seen.answer.message["access_token"])["exp"] == claims_in(token)["exp"]
        sights[f"{left} s left"] = seen
    return sights


async def _after_revocation(world: World) -> dict[str, Seen]:
    """A parent that was revoked has no more children, however it was named."""
    sights: dict[str, Seen] = {}
    for kind in (RevokedObject.TOKEN, RevokedObject.SUBJECT):
        token = _subject(world, sub="user:carl", client_id="planner")
        value = claims_in(token)["jti"] if kind is RevokedObject.TOKEN else "user:carl"
        await world.plane.issuer.revoker.revoke(kind, value, why="an attack", by="tests")
        seen = await asking(lambda w, token=token: {"": _to_rooms(w, token)})(world)  # type: ignore[misc]
        sights[kind.value] = seen[""]
    return sights


async def _as_person(world: World) -> dict[str, Any]:
    """An exchange without the client's own authentication is nobody's."""
    received = await world.received(await world.token())
    form = [
        ("grant_type", EXCHANGE),
        ("subject_token", received),
        ("subject_token_type", ACCESS_TOKEN_TYPE),
        ("resource", world.at.uri("rooms")),
    ]
    bearer = (("authorization", f"Bearer {received}"),)
    return {
        "nobody": form,
        "a name": [*form, ("client_id", "calendar-server")],
        "the token itself": Ask(form, bearer),
        "another's key": [*form, *world.proof("calendar-server", key=world.keys["rooms-server"])],
    }


PASSES = Expected("200", None, records=1, passed=1)

ROWS: tuple[Row, ...] = (
    sts(
        "exchange-of-a-token-for-others",
        "a server exchanges a token that was not sent to it",
        "RFC 8693 §5; RFC 9700 §4.10.2",
        _not_the_presenter,
        PRESENTER,
    ),
    sts(
        "exchange-without-a-hop",
        "a server goes on to where no hop leads, or past a gateway",
        "RFC 8693 §2.2.2; Keycloak 48104",
        _no_hop,
        refused("hop.unknown", "400 invalid_target"),
    ),
    sts(
        "exchange-to-a-stranger",
        "a target that is not registered",
        "RFC 8707 §2",
        _unregistered,
        refused("audience.mismatch", "400 invalid_target"),
    ),
    sts(
        "exchange-without-a-target",
        "no `resource`",
        "RFC 8707 §2",
        _without_target,
        refused("audience.missing", "400 invalid_target"),
    ),
    sts(
        "exchange-to-two-targets",
        "two values of `resource`",
        "RFC 8707 §2",
        _two_targets,
        refused("audience.multiple", "400 invalid_target"),
    ),
    sts(
        "exchange-that-policy-forbids",
        "an agent that policy keeps away from the target",
        "RFC 8693 §2.2.2",
        _forbidden,
        refused("policy.denied", "400 invalid_target"),
    ),
    sts(
        "exchange-for-wider-scopes",
        "more than the parent's scopes map to",
        "RFC 8693 §2.2.2; RFC 6749 §3.3",
        _wider,
        refused("scope.insufficient", "400 invalid_scope"),
    ),
    sts(
        "exchange-of-another-kind",
        "another type of token in or out, or an actor's token",
        "RFC 8693 §2.1; RFC 8693 §3",
        _other_types,
        MALFORMED,
    ),
    sts(
        "exchange-of-another-typ",
        "what is signed by us and is no access token",
        "RFC 8725 §3.11",
        _with_type,
        refused("token.type", REQUEST),
    ),
    sts(
        "exchange-of-a-forgery",
        "a subject token under another key",
        "RFC 8693 §2.1",
        _untrue,
        refused("token.signature", REQUEST),
    ),
    sts(
        "exchange-after-expiry",
        "a subject token at or after its `exp`: no leeway here",
        "RFC 8693 §2.2.2",
        _expired,
        refused("token.expired", REQUEST),
    ),
    sts(
        "exchange-too-deep",
        "a chain of more than four actors",
        "RFC 8693 §4.1",
        _depth,
        refused("chain.depth", REQUEST),
    ),
    sts(
        "exchange-in-a-circle",
        "a chain that comes back to where it was",
        "RFC 8693 §4.1",
        _cycle,
        refused("chain.cycle", REQUEST),
    ),
    sts("exchange-against-may-act", "a presenter that `may_act` does not name", "RFC 8693 §4.4", _may_act, PRESENTER),
    sts(
        "exchange-of-a-bound-token",
        "a token that is bound to a key, without proof of it",
        "RFC 9449 §7.1",
        _bound,
        refused("sender.mismatch", REQUEST),
    ),
    tried("forged-chain", "parameters that pretend to be claims", "RFC 8693 §4.1", Door.STS, _forged_chain, PASSES),
    tried(
        "child-outlives-parent",
        "a child that would be good for longer than its parent",
        "RFC 8693 §5",
        Door.STS,
        _no_longer,
        PASSES,
    ),
    tried(
        "exchange-after-revocation",
        "a parent that was revoked",
        "RFC 8693 §5; RFC 7009 §2.1",
        Door.STS,
        _after_revocation,
        refused("token.revoked", REQUEST),
    ),
    sts(
        "exchange-by-nobody",
        "a subject token in the place of client authentication",
        "RFC 8693 §2.1",
        _as_person,
        refused("client.authentication", "401 invalid_client"),
    ),
)
