"""Families as a machine: whatever is asked in whatever order, nothing is widened, nothing dead comes back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from sqlalchemy import func, select

from perhop.authorization_server.refresh_families import FAMILY_LIFETIME, IDLE_LIFETIME
from perhop.authorization_server.revocation import RevokedObject
from perhop.errors import BearerRefused
from perhop.storage.schema import refresh_token
from tests.support.authorization_servers import CALENDAR, PERSON, ROOMS, claims_of, running_server
from tests.support.refreshing import BOTH, add_portal, allowed_without_pages, refresh

_T = TypeVar("_T")

SCOPES = sorted(BOTH)
A_REQUEST = st.sampled_from(["", *SCOPES, " ".join(SCOPES), "rooms:read"])
A_RESOURCE = st.sampled_from(["", CALENDAR, ROOMS])


@dataclass(eq=False)
class Family:
    """What the model knows of one family."""

    scopes: frozenset[str]
    began_at: float
    used_at: float
    live: str
    is_dead: bool = False
    access: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Given:
    """One refresh token that was ever given."""

    token: str
    family: Family


class Families(RuleBasedStateMachine):
    """One client, one person, one resource; families begin, go on and end."""

    given = Bundle("given")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        self.server = self.run(self.stack.enter_async_context(running_server(Path(self.folder.name))))
        add_portal(self.server)
        self.families: list[Family] = []

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()

    @rule(target=given, scopes=st.sets(st.sampled_from(SCOPES), min_size=1))
    def begin(self, scopes: set[str]) -> Given:
        """A person allows something anew. The last word counts, so a family that has more is over."""
        self.server.clock.now += 1
        now = self.server.clock.now
        answer = self.run(allowed_without_pages(self.server, scopes=scopes))
        family = Family(frozenset(scopes), now, now, answer["refresh_token"], access=[answer["access_token"]])
        self.consent = family.scopes
        self.families.append(family)
        return Given(family.live, family)

    @rule(target=given, given=given, scope=A_REQUEST, resource=A_RESOURCE)
    def use(self, given: Given, scope: str, resource: str) -> Any:
        """Somebody brings a refresh token, live or spent."""
        family, now = given.family, self.server.clock.now
        answer = self.run(refresh(self.server, given.token, by="portal", scope=scope, resource=resource))
        if given.token != family.live:
            family.is_dead = True
            assert answer.json()["error"] == "invalid_grant"
            return multiple()
        is_over = now >= min(family.used_at + IDLE_LIFETIME, family.began_at + FAMILY_LIFETIME)
        may = not family.is_dead and not is_over and family.scopes <= self.consent
        may = may and resource != ROOMS and set(scope.split()) <= family.scopes
        assert (answer.status_code == 200) is may, answer.text
        if not may:
            return multiple()
        granted = frozenset(claims_of(answer)["scope"].split())
        assert granted == (frozenset(scope.split()) or family.scopes)
        family.live, family.used_at = answer.json()["refresh_token"], now
        family.access.append(answer.json()["access_token"])
        return Given(family.live, family)

    @rule(given=given)
    def give_back(self, given: Given) -> None:
        """The client ends the family, by any of its refresh tokens."""
        fields = {"token": given.token, "client_id": "portal", "client_secret": _secret()}
        assert self.run(self.server.http.post("/revoke", data=fields)).status_code == 200
        given.family.is_dead = True

    @rule(
        named=st.sampled_from(
            [(RevokedObject.AGENT, "portal"), (RevokedObject.SUBJECT, PERSON), (RevokedObject.AGENT, "another")]
        )
    )
    def revoke(self, named: tuple[RevokedObject, str]) -> None:
        """An operator revokes what some or all families rest on."""
        self.run(self.server.issuer.revoker.revoke(*named, why="", by="tests"))
        if named[1] != "another":
            for family in self.families:
                family.is_dead = True

    @rule(given=given)
    def another_client(self, given: Given) -> None:
        """Another client's try changes nothing."""
        assert self.run(refresh(self.server, given.token, by="desk-app")).status_code == 400

    @rule(seconds=st.sampled_from([1, 400, IDLE_LIFETIME // 2, IDLE_LIFETIME]))
    def wait(self, seconds: int) -> None:
        """Time goes by, and what has expired is forgotten."""
        self.server.clock.now += seconds
        self.server.issuer.revocations.forget(now=self.server.issuer.now())

    @invariant()
    def tokens_of_the_dead_are_dead(self) -> None:
        """No access token of an ended family is in force."""
        for family in self.families:
            assert not family.is_dead or not any(map(self._is_in_force, family.access))

    @invariant()
    def one_is_live_at_most(self) -> None:
        """No family has two tokens that are not spent."""
        counted = select(func.count()).where(refresh_token.c.spent_at.is_(None)).group_by(refresh_token.c.family)
        assert {row[0] for row in self.run(self.server.database.rows(counted))} <= {1}

    def _is_in_force(self, token: str) -> bool:
        try:
            self.server.issuer.revocations.check(self.server.permit(token).bound.token)
        except BearerRefused:
            return False
        return True


def _secret() -> str:
    from tests.support.refreshing import AS_PORTAL

    return AS_PORTAL["client_secret"]


TestFamilies = Families.TestCase
TestFamilies.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
