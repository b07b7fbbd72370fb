"""Policy that is told the groups of the person in each question: one place, for gateway and authorization server alike.

Answers exactly as what is behind it, which is asked with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from perhop.authorization_server.known_groups import KnownGroups
from perhop.core.decision import Allow, Decision, NeedsApproval, Question
from perhop.policy.engine import PolicyEngine
from perhop.policy.lasting import Lasting


@dataclass(frozen=True, slots=True)
class PeoplePolicy:
    """A policy engine in front of which the groups are filled in."""

    engine: PolicyEngine
    groups: KnownGroups

    @property
    def version(self) -> str:
        return self.engine.version

    def decide(self, question: Question) -> Decision:
        return self.engine.decide(self._known(question))

    def lasting(self, question: Question) -> Lasting | None:
        return self.engine.lasting(question)

    def again(self, lasting: Lasting, arguments: Mapping[str, Any]) -> Allow | NeedsApproval | None:
        return lasting.find(arguments)

    def may_permit(self, question: Question) -> bool:
        return self.engine.may_permit(self._known(question))

    def needing_body(self, server: str) -> tuple[str, ...]:
        return self.engine.needing_body(server)

    def reading_arguments(self, question: Question) -> tuple[str, ...]:
        return self.engine.reading_arguments(question)

    def _known(self, question: Question) -> Question:
        if not self.engine.reads_groups:
            return question
        groups = self.groups.of(question.subject, now=question.now)
        return question if groups is None else replace(question, groups=groups)
