"""Which policies a question satisfies, whatever the decision is.

Cedar names those that made its decision: beside a satisfied forbid it says nothing of the permits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import cedarpy

from perhop.core.decision import Question
from perhop.policy.engine import PolicyEngine, evaluate
from perhop.policy.policy_set import Policy
from perhop.policy.slices import Slice, handle_of
from perhop.policy.vocabulary import context

Effect = Literal["permit", "forbid"]


class Satisfied:
    """Asks permits and forbids apart. For authors of policies; no decision rests on it."""

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine
        self._halves = lru_cache(maxsize=1024)(self._make_halves)
        self._policies = {policy.id: policy for policy in engine.policy_set.policies}

    def by(self, question: Question) -> tuple[Policy, ...]:
        """The satisfied policies; of a question that cannot be put, or that one cannot judge, those that still are."""
        case = self._engine.case(question)
        try:
            seen = context(question, _judged(case.slice, question))
        except ValueError:
            return ()
        found = [
            each for half in self._halves(tuple(case.slice.policies)) for each in evaluate(case, half, seen).satisfied
        ]
        return tuple(self._policies[each] for each in sorted(found))

    def _make_halves(self, ids: tuple[str, ...]) -> tuple[cedarpy.PolicySet, ...]:
        effects: tuple[Effect, ...] = ("permit", "forbid")
        policies = [self._policies[each] for each in ids]
        return tuple(handle_of(each.tree for each in policies if each.effect == effect) for effect in effects)


def _judged(policies: Slice, question: Question) -> dict[str, str | int | bool]:
    """The arguments that every policy which asks for them can judge."""
    judged = {
        name: value
        for name, value in question.arguments.items()
        if all(each.can_decide_on(name, value) for each in policies.policies.values())
    }
    return policies.shown(judged)
