"""Why a question is answered as it is, in words for the author of the policies.

For people at a terminal: it may show values of the question, and never goes to a peer or into the journal.
"""

from __future__ import annotations

from dataclasses import dataclass

from cedarpy import pst

from perhop.core.decision import Allow, Question
from perhop.policy.engine import Case, PolicyEngine, evaluate
from perhop.policy.policy_set import Policy
from perhop.policy.reads import conjuncts
from perhop.policy.rendering import condition_alone, render_condition
from perhop.policy.slices import fits_call, fits_principal, handle_of
from perhop.policy.vocabulary import context


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """A policy that made the decision, or failed in it."""

    id: str
    effect: str
    reason: str
    owner: str
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A permit for this action on this thing that is not satisfied, and the conditions that do not hold."""

    id: str
    file: str
    line: int
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with its grounds. `near` is filled for a denial by default only, the nearest first."""

    allowed: bool
    failed: bool
    summary: str
    policy_version: str
    fired: tuple[Fired, ...]
    errors: tuple[str, ...]
    near: tuple[NearMiss, ...]


def explain(engine: PolicyEngine, question: Question) -> Explanation:
    """Decide, and say why."""
    decision = engine.decide(question)
    failed = not isinstance(decision, Allow) and decision.failed
    policies = {policy.id: policy for policy in engine.policy_set.policies}
    fired = tuple(_fired(policies[each]) for each in decision.policies)
    by_default = not isinstance(decision, Allow) and not failed and not fired
    return Explanation(
        allowed=isinstance(decision, Allow),
        failed=failed,
        summary=_summary(fired, allowed=isinstance(decision, Allow), failed=failed),
        policy_version=decision.policy_version,
        fired=fired,
        errors=_errors(engine, question) if failed else (),
        near=_near_misses(engine, question) if by_default else (),
    )


def _summary(fired: tuple[Fired, ...], *, allowed: bool, failed: bool) -> str:
    names = ", ".join(f"`{each.id}`" for each in fired)
    if failed:
        return f"refused, undecidable: {names or 'the question'} could not be evaluated, and unsure means no"
    if allowed:
        return f"permitted by {names}" if fired else "permitted: no policy forbids it, and it needs no permit"
    return f"forbidden by {names}" if fired else "refused: no policy permits it"


def _fired(policy: Policy) -> Fired:
    return Fired(
        id=policy.id,
        effect=policy.effect,
        reason=policy.reason,
        owner=policy.owner,
        file=policy.file,
        line=policy.line,
    )


def _errors(engine: PolicyEngine, question: Question) -> tuple[str, ...]:
    """What failed, in the words of whoever noticed it."""
    case = engine.case(question)
    unjudged = [
        f"policy `{policy.id}` reads argument `{name}`, whose value here it cannot judge"
        for policy in case.slice.policies.values()
        for name in sorted(policy.arguments & question.arguments.keys())
        if not policy.can_decide_on(name, question.arguments[name])
    ]
    if unjudged:
        return tuple(unjudged)
    try:
        return evaluate(case, case.slice.exact, context(question, case.slice.shown(question.arguments))).messages
    except ValueError as error:
        return (str(error),)


def _near_misses(engine: PolicyEngine, question: Question) -> tuple[NearMiss, ...]:
    case = engine.case(question)
    misses = [
        NearMiss(id=policy.id, file=policy.file, line=policy.line, needs=_needs(case, policy, question))
        for policy in engine.policy_set.policies
        if policy.effect == "permit" and fits_call(policy.tree, case.scene)
    ]
    return tuple(sorted(misses, key=lambda miss: len(miss.needs)))


def _needs(case: Case, policy: Policy, question: Question) -> tuple[str, ...]:
    principal = () if fits_principal(policy.tree, case.scene) else (_principal_needed(policy.tree.principal),)
    asked = {name: question.arguments[name] for name in policy.arguments if name in question.arguments}
    unjudged = sorted(name for name, value in asked.items() if not policy.can_decide_on(name, value))
    if unjudged:
        return (*principal, *(f"a value of `{name}` that policy can judge" for name in unjudged))
    seen = context(question, asked)
    conditions = tuple(render_condition(part) for part in conjuncts(policy.tree) if not _holds(case, part, seen))
    return (*principal, *conditions)


def _holds(case: Case, part: pst.Expr, seen: dict[str, object]) -> bool:
    return evaluate(case, handle_of([condition_alone(part)]), seen).allowed


def _principal_needed(constraint: pst.PrincipalOrResourceConstraint) -> str:
    match constraint:
        case pst.ScopeEq(entity=entity):
            return f"principal == {entity}"
        case pst.ScopeIn(entity=entity):
            return f"principal in {entity}"
        case pst.ScopeIsIn(entity_type=entity_type, entity=entity):
            return f"principal is {entity_type} in {entity}"
        case _:
            return "another principal"
