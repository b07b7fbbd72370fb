"""Chains of exchanges as a machine: whatever is asked in whatever order, no token says more than its parent.

Nothing is widened, nothing lives longer, nothing changes its audience but by an exchange that the configuration names,
and what comes from a revoked token is dead.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from perhop.authorization_server.revocation import RevokedObject
from perhop.errors import BearerRefused, Refused
from perhop.rules.revocation import Revocations
from perhop.tokens.verify import Leeway, verify
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    NOTES,
    ROOMS,
    ROOMS_SERVER,
    claims_in,
    running_server,
)

_T = TypeVar("_T")

NAMES = {CALENDAR: "calendar", ROOMS: "rooms"}
SERVERS = {CALENDAR: CALENDAR_SERVER, ROOMS: ROOMS_SERVER}
PRESENTERS = {CALENDAR_SERVER: "calendar-server", ROOMS_SERVER: "rooms-server"}
REACHES = {
    (CALENDAR_SERVER, ROOMS): {"calendar:read": {"rooms:read"}},
    (ROOMS_SERVER, CALENDAR): {"rooms:read": {"calendar:read"}},
    (ROOMS_SERVER, NOTES): {"rooms:read": {"notes:read"}},
}
SCOPES = ["calendar:read", "calendar:write", "rooms:read", "rooms:book", "notes:read"]
MOST_ACTORS = 4


@dataclass(eq=False, frozen=True)
class Held:
    """One token that was ever given, and what it came from."""

    raw: str
    parent: Held | None
    root_scopes: frozenset[str]

    @property
    def claims(self) -> dict[str, Any]:
        return claims_in(self.raw)

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.claims["scope"].split())

    def lineage(self) -> Iterator[Held]:
        """The token itself, its parent, and so on."""
        held: Held | None = self
        while held is not None:
            yield held
            held = held.parent


class Chains(RuleBasedStateMachine):
    """A planner's tokens, the gateway's hops, and servers that call on."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        self.server = self.run(self.stack.enter_async_context(running_server(Path(self.folder.name))))
        self.everything: list[Held] = []
        self.dead: set[str] = set()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()

    def _keep(self, raw: str, parent: Held | None) -> Held:
        scopes = frozenset(claims_in(raw)["scope"].split())
        held = Held(raw, parent, parent.root_scopes if parent is not None else scopes)
        self.everything.append(held)
        return held

    @rule(target=held, scope=st.sampled_from(["", "calendar:read", "calendar:read calendar:write"]))
    def begin(self, scope: str) -> Held:
        """The planner gets a token of its own."""
        answer = self.run(self.server.planner_token(**({"scope": scope} if scope else {})))
        assert answer.status_code == 200, answer.text
        return self._keep(answer.json()["access_token"], None)

    @rule(target=held, scope=st.sampled_from(["", "calendar:read"]), onward=st.sampled_from(["", "rooms:read"]))
    def do_a_job(self, scope: str, onward: str) -> Any:
        """What is usual: a token, the gateway's hop, and the server calls on through the gateway."""
        first = self.begin(scope)
        at_calendar = self.through_the_gateway(first)
        to_rooms = self.call_on(at_calendar, "calendar-server", ROOMS, set(onward.split()))
        return multiple(first, at_calendar, to_rooms, self.through_the_gateway(to_rooms))

    @rule(target=held, parent=held)
    def through_the_gateway(self, parent: Held) -> Any:
        """The gateway calls the server behind a resource."""
        audience = parent.claims["aud"]
        may = audience in NAMES and not self._is_over(parent)
        if self._is_dead(parent):
            return multiple()  # refused where it comes in: see the invariant
        try:
            raw = self.run(self.server.through_gateway(parent.raw, NAMES.get(audience, "calendar")))
        except Refused:
            assert not may
            return multiple()
        assert may
        child = self._keep(raw, parent)
        assert child.claims["aud"] == SERVERS[audience]
        assert child.scopes == parent.scopes
        return child

    @rule(
        target=held,
        parent=held,
        by=st.sampled_from(sorted(PRESENTERS.values())),
        to=st.sampled_from([ROOMS, CALENDAR, NOTES, CALENDAR_SERVER, ROOMS_SERVER]),
        scope=st.sets(st.sampled_from(SCOPES), max_size=2),
    )
    def call_on(self, parent: Held, by: str, to: str, scope: set[str]) -> Any:
        """A server exchanges what it has for another resource; anybody may try anything."""
        asked = {"scope": " ".join(sorted(scope))} if scope else {}
        answer = self.run(self.server.exchange(parent.raw, by=by, resource=to, **asked))
        audience = parent.claims["aud"]
        mapped = REACHES.get((audience, to), {})
        reachable = frozenset(each for name in parent.scopes for each in mapped.get(name, ()))
        lineage = {each.claims["aud"] for each in parent.lineage()}
        may = PRESENTERS.get(audience) == by and bool(reachable) and scope <= reachable
        may = may and to not in lineage and not self._is_over(parent) and len(self._actors(parent)) < MOST_ACTORS
        assert (answer.status_code == 200) is may, (answer.text, parent.claims, by, to, scope)
        if not may:
            return multiple()
        child = self._keep(answer.json()["access_token"], parent)
        assert child.claims["aud"] == to
        assert child.scopes == (frozenset(scope) or reachable)
        assert self._actors(child) == [by, *self._actors(parent)]
        return child

    @rule(held=held)
    def revoke(self, held: Held) -> None:
        """One token is taken back, with all that came from it."""
        jti = held.claims["jti"]
        self.run(self.server.issuer.revoker.revoke(RevokedObject.TOKEN, jti, why="", by="tests"))
        self.dead.add(jti)

    @rule(seconds=st.sampled_from([1, 20, 61, 301]))
    def wait(self, seconds: int) -> None:
        """Time goes by."""
        self.server.clock.now += seconds

    @invariant()
    def a_child_says_no_more_than_its_parent(self) -> None:
        """Its person, agent and transaction are the parent's; it ends no later, and is one hop further."""
        for each in self.everything:
            claims = each.claims
            assert type(claims["aud"]) is str
            if each.parent is None:
                assert claims["hop"] == 1
                assert "act" not in claims
                continue
            parent = each.parent.claims
            assert claims["exp"] <= parent["exp"]
            assert claims["hop"] == parent["hop"] + 1
            assert [claims[name] for name in ("sub", "txn")] == [parent[name] for name in ("sub", "txn")]
            assert claims["agent"] == parent.get("agent", parent["client_id"]) == "trip-planner"
            assert claims["aud"] != parent["aud"]

    @invariant()
    def what_came_from_the_dead_is_dead(self) -> None:
        """Every verifier refuses it, however deep in the chain it stands."""
        issuer = self.server.issuer
        for each in self.everything:
            if self._is_dead(each):
                assert not _is_taken(
                    each.raw, issuer.keyring.verify_keys(), issuer.revocations, issuer.url, issuer.now()
                )

    def _is_over(self, held: Held) -> bool:
        return held.claims["exp"] <= self.server.issuer.now() or self._is_dead(held)

    def _is_dead(self, held: Held) -> bool:
        return any(each.claims["jti"] in self.dead for each in held.lineage())

    def _actors(self, held: Held) -> list[str]:
        """Who has acted, the last one first, without the gateway."""
        found, actor = [], held.claims.get("act")
        while actor is not None:
            found.append(actor["sub"])
            actor = actor.get("act")
        return [each for each in found if not each.startswith("gateway:") and each != "trip-planner"]


def _is_taken(raw: str, keys: Any, revocations: Revocations, issuer: str, now: int) -> bool:
    try:
        revocations.check(verify(raw, keys={issuer: keys}, now=now, leeway=Leeway.NONE))
    except BearerRefused:
        return False
    return True


TestChains = Chains.TestCase
TestChains.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
