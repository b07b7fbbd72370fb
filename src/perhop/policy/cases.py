"""Test cases of a policy set: one question each, and what its author expects of the answer.

Beside what a case asks for, it says which policies it has tried: a policy that no case satisfies, or that no case needs
for its answer, is one whose loss nobody would notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perhop.core.call import Action
from perhop.core.decision import Question
from perhop.policy.engine import PolicyEngine
from perhop.policy.explain import Explanation, explain, explain_not_asked
from perhop.policy.outcome import Outcome
from perhop.policy.policy_set import Policy
from perhop.policy.posing import ApprovedTools, NotAsked, pose
from perhop.policy.satisfied import Satisfied
from perhop.policy.vocabulary import NEEDS_PERMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCase:
    """One case; `place` is where it stands. The arguments of `question` are those of the call: they are not typed yet.

    `by` are all policies that must have decided, None where any may have.
    """

    name: str
    place: str
    question: Question
    expect: Outcome
    by: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What came of one case. `not_asked` says why policy was not asked at all; empty where it was."""

    case: PolicyCase
    outcome: Outcome
    by: tuple[str, ...]
    not_asked: str
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


def run_cases(
    engine: PolicyEngine, cases: Iterable[PolicyCase], approved: Mapping[str, ApprovedTools]
) -> list[CaseResult]:
    """Ask every case, as the gateway would: the token's scopes first, the owner's approval of the tool, then policy.

    `approved` are the tools of the resources whose owners have approved any.
    """
    satisfied = Satisfied(engine)
    return [_run(engine, satisfied, case, approved) for case in cases]


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


def _run(
    engine: PolicyEngine, satisfied_by: Satisfied, case: PolicyCase, approved: Mapping[str, ApprovedTools]
) -> CaseResult:
    server = case.question.server
    question = pose(case.question, engine.registry.resources[server], approved.get(server))
    if isinstance(question, NotAsked):
        return CaseResult(
            case=case,
            outcome=Outcome.DENY,
            by=(),
            not_asked=question.why,
            satisfied=frozenset(),
            decisive=frozenset(),
            explanation=explain_not_asked(engine, question.why),
        )
    explanation = explain(engine, question)
    outcome = Outcome.of(engine.decide(question))
    satisfied = satisfied_by.by(question)
    return CaseResult(
        case=case,
        outcome=outcome,
        by=tuple(each.id for each in explanation.fired),
        not_asked="",
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
