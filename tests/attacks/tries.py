"""How rows are written: makers of tokens, messages and forms become attempts at doors."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.call import Headers
from perhop.tokens.keys import SigningKey
from tests.attacks.row import PASSES_GATEWAY, PASSES_GUARD, Attempt, Door, Expected, Row, Seen, Sights
from tests.attacks.world import ARGUMENT, Parameters, World, a_call
from tests.support import forge
from tests.support.doors import Answer, Wire

BOTH = (Door.GATEWAY, Door.GUARD)
DECIDES = "what a caller may do is decided by the gateway; behind a guard it is the application's part"
Variants = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """The door that a token is made for: its audience, its clock, and the keys that an attacker may or may not have."""

    world: World
    audience: str

    @property
    def key(self) -> SigningKey:
        return self.world.key

    @property
    def attacker(self) -> SigningKey:
        return self.world.attacker

    @property
    def now(self) -> int:
        """The second in which the token will arrive."""
        return self.world.now + 1

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a good token says here, but for these claims."""
        return self.world.claims(self.audience, **changes)

    def claiming(self, **changes: Any) -> str:
        """A token under the installation's own key that says this."""
        return forge.sign(self.claims(**changes), self.key)

    def headed(self, **header: Any) -> str:
        """A token under the installation's own key whose claims are good, with this header."""
        return forge.sign(self.claims(), self.key, **header)


MakeToken = Callable[[Target], Any]
"""Makes a token, or header fields, or several of them by variant."""
MakeWire = Callable[[], Any]
Try = Callable[[World], Awaitable[Any]]


def refused(reason: str, observed: str = "401 invalid_token", *, records: int = 1) -> Expected:
    """The usual end of an attack."""
    return Expected(observed, reason, records=records)


def bearer(slug: str, title: str, source: str, make: MakeToken, expected: Expected) -> Row:
    """A token, or what stands in its place, that no door takes."""
    attempts = {door: _bearer_attempt(door, make) for door in BOTH}
    return Row(slug=slug, title=title, source=source, attempts=attempts, expected=dict.fromkeys(BOTH, expected))


def bearer_each(
    slug: str, title: str, source: str, make: MakeToken, *, gateway: Expected, guard: Expected, differs: str = ""
) -> Row:
    """The same where the doors are not expected to say the same, or must let it pass."""
    attempts = {door: _bearer_attempt(door, make) for door in BOTH}
    expected = {Door.GATEWAY: gateway, Door.GUARD: guard}
    return Row(slug=slug, title=title, source=source, attempts=attempts, expected=expected, differs=differs)


def bearer_passes(slug: str, title: str, source: str, make: MakeToken) -> Row:
    """What both doors must take alike, since one that does not is a second opinion."""
    return bearer_each(slug, title, source, make, gateway=PASSES_GATEWAY, guard=PASSES_GUARD)


def _bearer_attempt(door: Door, make: MakeToken) -> Attempt:
    async def attempt(world: World) -> Sights:
        entrance = world.entrance(door)
        sights: dict[str, Seen] = {}
        for name, made in _variants(await _settled(make(Target(world, entrance.audience)))).items():
            # One that depends on the very second is made when it is sent.
            credentials = made(Target(world, entrance.audience)) if callable(made) else made
            wire = a_call("list_events", {"day": ARGUMENT})
            sights[name] = await world.knock(entrance, _authorized(world, wire, credentials))
        return sights

    return attempt


def _authorized(world: World, wire: Wire, made: str | Headers | Wire) -> Wire:
    match made:
        case Wire():
            return made
        case str():
            fields: Headers = (("authorization", f"Bearer {made}"),)
        case _:
            fields = made
    for name, value in fields:
        if name == "authorization":
            for word in value.replace(",", " ").split():
                if len(word) > 40:
                    world.leaks.note(word)
    return dataclasses.replace(wire, headers=(*wire.headers, *fields))


def message(slug: str, title: str, source: str, make: MakeWire, expected: Expected) -> Row:
    """A message that no door takes, under a token that is good."""
    attempts = {door: _message_attempt(door, make) for door in BOTH}
    return Row(slug=slug, title=title, source=source, attempts=attempts, expected=dict.fromkeys(BOTH, expected))


def at_gateway(
    slug: str, title: str, source: str, make: MakeWire, expected: Expected, *, scope: str = "calendar:read"
) -> Row:
    """A message that only the gateway judges: what a caller may do is the application's part behind a guard."""
    attempts = {Door.GATEWAY: _message_attempt(Door.GATEWAY, make, scope=scope)}
    expected_there = {Door.GATEWAY: expected}
    return Row(slug=slug, title=title, source=source, attempts=attempts, expected=expected_there, only=DECIDES)


def message_each(
    slug: str, title: str, source: str, make: MakeWire, *, gateway: Expected, guard: Expected, differs: str
) -> Row:
    """A message that both doors are sent, where what lies behind the guard answers in its stead."""
    attempts = {door: _message_attempt(door, make) for door in BOTH}
    expected = {Door.GATEWAY: gateway, Door.GUARD: guard}
    return Row(slug=slug, title=title, source=source, attempts=attempts, expected=expected, differs=differs)


def _message_attempt(door: Door, make: MakeWire, *, scope: str = "calendar:read calendar:write") -> Attempt:
    async def attempt(world: World) -> Sights:
        entrance = world.entrance(door)
        sights: dict[str, Seen] = {}
        for name, wire in _variants(make()).items():
            token = world.forge(entrance.audience, scope=scope)
            sights[name] = await world.knock(entrance, _authorized(world, wire, token))
        return sights

    return attempt


def tried(slug: str, title: str, source: str, door: Door, attempt: Try, expected: Expected, *, only: str = "") -> Row:
    """An attack of its own making, at one door; `attempt` gives what was seen, or that by variant."""
    return tried_at(slug, title, source, {door: (attempt, expected)}, only=only)


def tried_at(
    slug: str,
    title: str,
    source: str,
    tries: Mapping[Door, tuple[Try, Expected]],
    *,
    differs: str = "",
    only: str = "",
) -> Row:
    """The same at several doors."""
    return Row(
        slug=slug,
        title=title,
        source=source,
        attempts={door: _own_attempt(attempt) for door, (attempt, _) in tries.items()},
        expected={door: expected for door, (_, expected) in tries.items()},
        differs=differs,
        only=only,
    )


def _own_attempt(attempt: Try) -> Attempt:
    async def run(world: World) -> Sights:
        return _variants(await attempt(world))

    return run


def sts(slug: str, title: str, source: str, make: Callable[[World], Any], expected: Expected) -> Row:
    """A request to the token endpoint; `make` gives parameters, an `Ask`, or several by variant."""
    return tried(slug, title, source, Door.STS, asking(make), expected)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the authorization server that is more than parameters."""

    parameters: Parameters
    headers: Headers = ()
    path: str = "/token"


def asking(make: Callable[[World], Any]) -> Callable[[World], Awaitable[Sights]]:
    """Send each form, and see what came of it."""

    async def attempt(world: World) -> Sights:
        sights: dict[str, Seen] = {}
        for name, made in _variants(await _settled(make(world))).items():
            ask = made if isinstance(made, Ask) else Ask(made)
            size = world.reader.size()
            answer = await world.ask(ask.parameters, headers=ask.headers, path=ask.path)
            sights[name] = seen_at_sts(world, answer, size)
        return sights

    return attempt


def seen_at_sts(world: World, answer: Answer, size: int) -> Seen:
    """What an answer of the authorization server comes to; a granted token has passed."""
    records = world.records_since(size)
    return Seen(
        observed=answer.observed,
        reason=next((each.text("reason") for each in reversed(records) if each.text("reason")), None),
        records=len(records),
        passed=int(answer.status == 200),
        answer=answer,
    )


def said(words: str, reason: str | None = None) -> Seen:
    """What was seen where no request was refused: words."""
    return Seen(observed=words, reason=reason)


async def _settled(made: Any) -> Any:
    return await made if inspect.isawaitable(made) else made


def _variants(made: Any) -> Variants:
    return made if isinstance(made, Mapping) else {"": made}
