"""Test cases of a policy set: one question each, and what its author expects of the answer.

Beside what a case asks for, it says which policies it has tried: a policy that no case satisfies, or that no case needs
for its answer, is one whose loss nobody would notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perhop.core.call import Action
from perhop.core.decision import Question
from perhop.core.resource import Resource
from perhop.policy.engine import PolicyEngine
from perhop.policy.explain import Explanation, explain, refused_before_policy
from perhop.policy.outcome import Outcome
from perhop.policy.policy_set import Policy
from perhop.policy.satisfied import Satisfied
from perhop.policy.vocabulary import NEEDS_PERMIT
from perhop.rules.scope import is_tool_in_scope


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCase:
    """One case; `place` is where it stands. `by` are all policies that must have decided, None where any may have."""

    name: str
    place: str
    question: Question
    expect: Outcome
    by: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What came of one case. `beyond_scope` says why policy was not asked at all; empty where it was."""

    case: PolicyCase
    outcome: Outcome
    by: tuple[str, ...]
    beyond_scope: str
    satisfied: frozenset[str]
    decisive: frozenset[str]
    explanation: Explanation

    @property
    def passed(self) -> bool:
        """True if the answer, and where the case says by whom, is the expected one."""
        return self.outcome is self.case.expect and (self.case.by is None or self.case.by == set(self.by))


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which policies the cases have tried.

    A policy is decisive in a case whose answer would be another without it. `unsatisfied` are those that no case
    satisfies, `undecisive` those that some case satisfies and that are decisive in none.
    """

    policies: int
    unsatisfied: tuple[str, ...]
    undecisive: tuple[str, ...]

    @property
    def is_full(self) -> bool:
        """True if every policy is decisive in a case."""
        return not self.unsatisfied and not self.undecisive


def run_cases(engine: PolicyEngine, cases: Iterable[PolicyCase]) -> list[CaseResult]:
    """Ask every case, as the gateway would: the token's scopes first, then policy."""
    satisfied = Satisfied(engine)
    return [_run(engine, satisfied, case) for case in cases]


def coverage_of(engine: PolicyEngine, results: Iterable[CaseResult]) -> Coverage:
    """Which policies of the set these cases have tried."""
    ids = [policy.id for policy in engine.policy_set.policies]
    satisfied: set[str] = set()
    decisive: set[str] = set()
    for result in results:
        satisfied |= result.satisfied
        decisive |= result.decisive
    return Coverage(
        policies=len(ids),
        unsatisfied=tuple(each for each in ids if each not in satisfied),
        undecisive=tuple(each for each in ids if each in satisfied and each not in decisive),
    )


def beyond_scope(resource: Resource, question: Question) -> str:
    """Why the call is refused before policy is asked: no scope of the token lists the tool. Empty if it is not."""
    tool = question.target.name
    if question.target.action is not Action.CALL_TOOL or is_tool_in_scope(question.scopes, resource, tool):
        return ""
    needed = resource.scope_for(tool)
    if needed is None:
        return f"refused before policy is asked: no scope of `{resource.name}` lists the tool `{tool}`"
    return f"refused before policy is asked: the tool `{tool}` needs the scope `{needed}`"


def _run(engine: PolicyEngine, satisfied_by: Satisfied, case: PolicyCase) -> CaseResult:
    question = case.question
    explanation = explain(engine, question)
    before = beyond_scope(engine.registry.resources[question.server], question)
    if before:
        return CaseResult(
            case=case,
            outcome=Outcome.DENY,
            by=(),
            beyond_scope=before,
            satisfied=frozenset(),
            decisive=frozenset(),
            explanation=refused_before_policy(explanation, before),
        )
    outcome = Outcome.of(engine.decide(question))
    satisfied = satisfied_by.by(question)
    return CaseResult(
        case=case,
        outcome=outcome,
        by=tuple(each.id for each in explanation.fired),
        beyond_scope="",
        satisfied=frozenset(each.id for each in satisfied),
        decisive=_decisive(satisfied, question.target.action) if outcome is not Outcome.ERROR else frozenset(),
        explanation=explanation,
    )


def _decisive(satisfied: Iterable[Policy], action: Action) -> frozenset[str]:
    """Those of the satisfied policies without any one of which the answer would be another."""
    satisfied = tuple(satisfied)
    permits = frozenset(each.id for each in satisfied if each.effect == "permit")
    asking = frozenset(each.id for each in satisfied if each.needs_approval)
    forbids = frozenset(each.id for each in satisfied if each.effect == "forbid")
    match len(forbids):
        case 0 if action in NEEDS_PERMIT:
            # Without the only one that wants an approval the call would pass by the others at once.
            return permits if len(permits) == 1 else asking if len(asking) == 1 else frozenset()
        case 1:
            return forbids if permits or action not in NEEDS_PERMIT else frozenset()
        case _:
            return frozenset()
