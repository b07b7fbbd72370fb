"""Why a question is answered as it is, in words for the author of the policies.

For people at a terminal: it may show values of the question, and never goes to a peer or into the journal.
"""

from __future__ import annotations

from dataclasses import dataclass

from cedarpy import pst

from perhop.core.authentication import AuthenticationWanted
from perhop.core.decision import Allow, Deny, NeedsApproval, Question
from perhop.policy.engine import Case, PolicyEngine, evaluate
from perhop.policy.policy_set import Policy
from perhop.policy.reads import conjuncts, mentions
from perhop.policy.rendering import condition_alone, render_condition, render_constraint
from perhop.policy.satisfied import Satisfied
from perhop.policy.slices import fits_action, fits_principal, fits_resource, handle_of
from perhop.policy.vocabulary import NEEDS_PERMIT, context


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
    """A permit that is not satisfied, and what it lacks: parts of its head, and conditions that do not hold."""

    id: str
    file: str
    line: int
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with its grounds.

    `needs_approval` is True where it is allowed once a person of the owner's team approves exactly this call, and not
    before: `allowed` is False then.
    `overridden` are the satisfied permits of a call that is forbidden all the same. `near` is filled where no permit
    is satisfied, the nearest first: those whose head lacks at most one of principal, action and resource. `wanted` is
    the sign-in with which the call would pass.
    """

    allowed: bool
    needs_approval: bool
    failed: bool
    summary: str
    policy_version: str
    fired: tuple[Fired, ...]
    errors: tuple[str, ...]
    overridden: tuple[Fired, ...] = ()
    near: tuple[NearMiss, ...] = ()
    wanted: AuthenticationWanted | None = None


def explain(engine: PolicyEngine, question: Question) -> Explanation:
    """Decide, and say why."""
    decision = engine.decide(question)
    allowed = isinstance(decision, Allow)
    failed = isinstance(decision, Deny) and decision.failed
    asking = decision.asking if isinstance(decision, NeedsApproval) else ()
    wanted = decision.wanted if isinstance(decision, Deny) else None
    policies = {policy.id: policy for policy in engine.policy_set.policies}
    fired = tuple(_fired(policies[each]) for each in decision.policies)
    wants_permit = isinstance(decision, Deny) and not failed and question.target.action in NEEDS_PERMIT
    permits = [each for each in Satisfied(engine).by(question) if each.effect == "permit"] if wants_permit else []
    return Explanation(
        allowed=allowed,
        needs_approval=bool(asking),
        failed=failed,
        summary=_summary(fired, asking, wanted, allowed=allowed, failed=failed),
        policy_version=decision.policy_version,
        fired=fired,
        errors=_errors(engine, question) if failed else (),
        overridden=tuple(_fired(each) for each in permits),
        near=_near_misses(engine, question) if wants_permit and not permits else (),
        wanted=wanted,
    )


def explain_not_asked(engine: PolicyEngine, why: str) -> Explanation:
    """The explanation of a question that is refused before policy is asked, and never gets there."""
    return Explanation(
        allowed=False,
        needs_approval=False,
        failed=False,
        summary=why,
        policy_version=engine.version,
        fired=(),
        errors=(),
    )


def _summary(
    fired: tuple[Fired, ...],
    asking: tuple[str, ...],
    wanted: AuthenticationWanted | None,
    *,
    allowed: bool,
    failed: bool,
) -> str:
    names = ", ".join(f"`{each.id}`" for each in fired)
    if failed:
        return f"refused, undecidable: {names or 'the question'} could not be evaluated, and unsure means no"
    if asking:
        wanting = ", ".join(f"`{each}`" for each in asking)
        verb = "want" if len(asking) > 1 else "wants"
        return f"permitted by {names} once a person of the owner's team approves this very call: {wanting} {verb} that"
    if allowed:
        return f"permitted by {names}" if fired else "permitted: no policy forbids it, and it needs no permit"
    if wanted is not None:
        return f"forbidden by {names} until the person signs in again{_how(wanted)}"
    return f"forbidden by {names}" if fired else "refused: no policy permits it"


def _how(wanted: AuthenticationWanted) -> str:
    age = f", and it is used within {wanted.max_age} s" if wanted.max_age is not None else ""
    return f"{age}{', by ' + ' or '.join(wanted.acr_values) if wanted.acr_values else ''}"


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
    permits = [policy for policy in engine.policy_set.policies if policy.effect == "permit"]
    heads = [(policy, _head_needed(case, policy.tree)) for policy in permits]
    misses = [
        NearMiss(id=policy.id, file=policy.file, line=policy.line, needs=_needs(case, policy, head, question))
        for policy, head in heads
        if len(head) <= 1
    ]
    return tuple(sorted(misses, key=lambda miss: len(miss.needs)))


def _head_needed(case: Case, tree: pst.Template) -> dict[str, str]:
    """What the head of a policy asks for and does not get, by its part."""
    parts: dict[str, tuple[bool, object]] = {
        "principal": (fits_principal(tree, case.scene), tree.principal),
        "action": (fits_action(tree, case.scene), tree.action),
        "resource": (fits_resource(tree, case.scene), tree.resource),
    }
    return {name: render_constraint(name, constraint) for name, (fits, constraint) in parts.items() if not fits}


def _needs(case: Case, policy: Policy, head: dict[str, str], question: Question) -> tuple[str, ...]:
    asked = {name: question.arguments[name] for name in policy.arguments if name in question.arguments}
    unjudged = sorted(name for name, value in asked.items() if not policy.can_decide_on(name, value))
    if unjudged:
        return (*head.values(), *(f"a value of `{name}` that policy can judge" for name in unjudged))
    seen = context(question, asked)
    # What a condition says of a principal or a resource, another one may fulfil.
    parts = [part for part in conjuncts(policy.tree) if not any(mentions(part, name) for name in head)]
    return (*head.values(), *(render_condition(part) for part in parts if not _holds(case, part, seen)))


def _holds(case: Case, part: pst.Expr, seen: dict[str, object]) -> bool:
    return evaluate(case, handle_of([condition_alone(part)]), seen).allowed
