"""Authorization codes at the token endpoint: bound to client, redirect, verifier and resource, good once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from perhop.authorization_server.codes import CODE_LIFETIME
from perhop.rules.pkce import code_challenge
from tests.attacks.configuration import CALLBACK
from tests.attacks.row import Door, Row, Seen
from tests.attacks.tries import asking, refused, seen_at_sts, tried, tried_at
from tests.attacks.visitors import VERIFIER, Visitor, a_query, redeeming
from tests.attacks.world import World, a_request, with_token
from tests.support.doors import Answer

GRANT = refused("request.malformed", "400 invalid_grant")


def _with_code(use: Callable[[World, str], Awaitable[Any]]) -> Any:
    """Get a code in good faith, and misuse it; each variant has a code of its own."""

    async def attempt(world: World) -> dict[str, Seen]:
        async with Visitor(world) as ann:
            await ann.sign_in(a_query(world))
            sights = {}
            for name, form in (await use(world, "")).items():
                code = await ann.code(a_query(world))
                sights[name] = await _redeem(world, [(key, value or code) for key, value in form])
        return sights

    return attempt


async def _redeem(world: World, form: Any) -> Seen:
    return (await asking(lambda _: {"": form})(world))[""]


async def _wrong_verifiers(_: World, code: str) -> dict[str, Any]:
    odd = {
        "another": VERIFIER[::-1],
        "the challenge": code_challenge(VERIFIER),
        "short": "x",
        "none": None,
        "long": VERIFIER * 4,
    }
    return {name: redeeming(code, code_verifier=verifier) for name, verifier in odd.items()}


async def _wrong_redirects(_: World, code: str) -> dict[str, Any]:
    odd = {"another": f"{CALLBACK}/x", "none": None, "case": CALLBACK.upper()}
    return {name: redeeming(code, redirect_uri=uri) for name, uri in odd.items()}


async def _wrong_clients(_: World, code: str) -> dict[str, Any]:
    return {"another client": redeeming(code, client_id="other-app")}


async def _wrong_resources(world: World, code: str) -> dict[str, Any]:
    uris = {"another": world.at.uri("rooms"), "a slash more": world.at.uri("calendar") + "/"}
    return {name: redeeming(code, resource=uri) for name, uri in uris.items()}


async def _two_resources(world: World, code: str) -> dict[str, Any]:
    uri = world.at.uri("calendar")
    return {"the same twice": [*redeeming(code, resource=uri), ("resource", uri)]}


async def _wider_than_allowed(_: World, code: str) -> dict[str, Any]:
    return {"another scope": redeeming(code, scope="calendar:read calendar:write")}


def _guessed(_: World) -> dict[str, Any]:
    return {name: redeeming(code) for name, code in {"guess": "x" * 43, "long": "x" * 5000, "NUL": "\0"}.items()}


async def _too_late(world: World) -> Seen:
    async with Visitor(world) as ann:
        code = await ann.code(a_query(world))
    world.clock.now += CODE_LIFETIME
    return await _redeem(world, redeeming(code))


async def _replayed(world: World) -> Seen:
    """A code that comes twice takes the token of the first time with it."""
    async with Visitor(world) as ann:
        code = await ann.code(a_query(world))
    first = await world.ask(redeeming(code))
    token = first.message["access_token"]
    assert (await world.received(token)) != ""
    seen = await _redeem(world, redeeming(code))
    entrance = world.entrance(Door.GATEWAY)
    again = await world.knock(entrance, with_token(a_request("tools/list"), token))
    assert (again.observed, again.reason) == ("401 invalid_token", "token.revoked")
    return seen


async def _at_once(world: World) -> dict[str, Seen]:
    """Of many redemptions at once one succeeds, at most."""
    async with Visitor(world) as ann:
        code = await ann.code(a_query(world))
    size = world.reader.size()
    answers: list[Answer] = await asyncio.gather(*(world.ask(redeeming(code)) for _ in range(8)))
    assert sorted(each.status for each in answers)[1:] == [400] * 7
    last = seen_at_sts(world, max(answers, key=lambda each: each.status), size)
    return {"the losers": Seen(observed=last.observed, reason=last.reason, records=1)}


ROWS: tuple[Row, ...] = (
    tried(
        "code-with-a-wrong-verifier",
        "a code without its verifier",
        "RFC 7636 §4.6; RFC 9700 §4.8",
        Door.STS,
        _with_code(_wrong_verifiers),
        GRANT,
    ),
    tried(
        "code-for-another-redirect",
        "a code with another redirect URI",
        "RFC 6749 §4.1.3",
        Door.STS,
        _with_code(_wrong_redirects),
        GRANT,
    ),
    tried(
        "code-of-another-client",
        "a client redeems another's code",
        "RFC 6749 §4.1.3",
        Door.STS,
        _with_code(_wrong_clients),
        GRANT,
    ),
    tried(
        "code-for-another-resource",
        "a code for another resource than was allowed",
        "RFC 8707 §2.2",
        Door.STS,
        _with_code(_wrong_resources),
        refused("audience.mismatch", "400 invalid_target"),
    ),
    tried(
        "code-for-two-resources",
        "a code with `resource` twice",
        "RFC 8707 §2.2",
        Door.STS,
        _with_code(_two_resources),
        refused("audience.multiple", "400 invalid_target"),
    ),
    tried(
        "code-for-wider-scopes",
        "a code for more than was allowed",
        "RFC 6749 §3.3",
        Door.STS,
        _with_code(_wider_than_allowed),
        refused("scope.insufficient", "400 invalid_scope"),
    ),
    tried_at("guessed-code", "a code that nobody gave", "RFC 6749 §10.10", {Door.STS: (asking(_guessed), GRANT)}),
    tried("late-code", "a code after its minute", "RFC 6749 §4.1.2", Door.STS, _too_late, GRANT),
    tried(
        "replayed-code",
        "a code that was redeemed before",
        "RFC 9700 §4.5; RFC 6749 §4.1.2",
        Door.STS,
        _replayed,
        refused("code.replayed", "400 invalid_grant", records=2),
    ),
    tried(
        "code-redeemed-at-once",
        "many redemptions of one code at once",
        "RFC 9700 §4.5; CVE-2026-1035",
        Door.STS,
        _at_once,
        refused("code.replayed", "400 invalid_grant"),
    ),
)
