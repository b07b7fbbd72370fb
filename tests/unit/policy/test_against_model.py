"""The engine and a second opinion without Cedar agree on policies and questions that nobody has chosen.

`python -m bench.differential` asks a hundred thousand questions.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import assert_never

import pytest

from perhop.core.decision import Allow, Decision, Deny, NeedsApproval
from perhop.policy.engine import PolicyEngine
from tests.support.policies import REGISTRY
from tests.support.policy_model import Verdict, judge, make_question, make_set

SETS = 24
QUESTIONS = 120


def as_verdict(decision: Decision) -> Verdict:
    """A decision of the engine in the words of the model."""
    named = tuple(sorted(decision.policies))
    match decision:
        case Allow():
            return Verdict("permit", named)
        case NeedsApproval(asking=asking):
            return Verdict("approval", named, tuple(sorted(asking)))
        case Deny(failed=failed):
            return Verdict("error" if failed else "deny", named)
        case _:
            assert_never(decision)


@pytest.mark.parametrize("seed", range(SETS))
def test_engine_and_model_agree(seed: int) -> None:
    """Outcome and policies are the same, and what is or may be permitted may also be seen in a list."""
    chance = random.Random(seed)
    model, policies = make_set(chance, chance.randrange(1, 9))
    engine = PolicyEngine(policies, REGISTRY)
    for _ in range(QUESTIONS):
        question = make_question(chance)
        decision = engine.decide(question)
        expected = judge(model, question)
        assert as_verdict(decision) == expected, ("".join(each.text for each in model), question)
        if expected.outcome in ("permit", "approval"):
            assert engine.may_permit(question), ("".join(each.text for each in model), question)


def test_every_outcome_comes_up() -> None:
    """Permits, calls that wait, denials by default and by forbid, and failures are all among what is compared."""
    seen: Counter[tuple[str, bool]] = Counter()
    for seed in range(SETS):
        chance = random.Random(seed)
        model, _ = make_set(chance, chance.randrange(1, 9))
        for _ in range(QUESTIONS):
            verdict = judge(model, make_question(chance))
            seen[verdict.outcome, bool(verdict.policies)] += 1
    assert {("permit", True), ("approval", True), ("deny", False), ("deny", True), ("error", True)} <= seen.keys()
    assert min(seen.values()) > 20
