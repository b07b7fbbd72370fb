"""Decide: scope, then the owner's approval of the tool, then policy. The only place where a call is allowed.

Spec: RFC 6750 §3.1
Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from perhop.core.authentication import AuthenticationWanted
from perhop.core.call import Action, Call, Target
from perhop.core.decision import Allow, Allowed, Covered, Deny, NeedsApproval, Permit, Question
from perhop.errors import (
    AuthenticationInsufficient,
    ParamsMalformed,
    PolicyDenied,
    PolicyUndecidable,
    ScopeInsufficient,
    ToolQuarantined,
)
from perhop.gateway.gate import Gate
from perhop.gateway.request import Request
from perhop.gateway.sessions import session_fingerprint
from perhop.policy.arguments import Visible, type_arguments
from perhop.policy.recorded import written_arguments
from perhop.rules.task import is_covered

PERSON_PREFIX = "user:"


def decide(request: Request, covered: Covered, gate: Gate) -> Allowed:
    """Allow a call whose every target is in scope, as approved by the resource's owner, and permitted by policy.

    What touches nothing (a handshake, a ping, a notification) needs no more than the bound token. Counts nothing.

    Raises: ScopeInsufficient, ToolQuarantined, ParamsMalformed, PolicyDenied, AuthenticationInsufficient,
        PolicyUndecidable
    """
    bound, call = covered.bound, covered.call
    for target in call.targets:
        if target.action is Action.CALL_TOOL:
            gate.tool_checks.check_scope(bound, gate.resource, target.name)
            gate.catalogue.check_approved(target.name)
    if len(call.targets) == 1:
        decision = _decide_on(call.targets[0], request, covered, gate)
    else:
        decisions = [_decide_on(target, request, covered, gate) for target in call.targets]
        decision = _all_of(decisions, gate.policy.version)
    return Allowed(bound, covered.task, gate.resource, call, decision)


def may_see(target: Target, request: Request, permit: Permit, gate: Gate) -> bool:
    """True for an item of a list that some arguments could make permitted, under a scope that the token has.

    False for what the task of the token does not cover, and for a tool that is quarantined.
    """
    if permit.task is not None and not is_covered(permit.task, permit.resource.name, target):
        return False
    if target.action is Action.CALL_TOOL:
        try:
            gate.tool_checks.check_scope(permit.bound, permit.resource, target.name)
            gate.catalogue.check_approved(target.name)
        except (ScopeInsufficient, PolicyDenied, ToolQuarantined):
            return False
    return gate.policy.may_permit(_question(target, {}, request, permit, gate))


def _decide_on(target: Target, request: Request, covered: Covered, gate: Gate) -> Allow | NeedsApproval:
    """The decision on one target of a call, its arguments typed by the tool's own schema.

    A target that stands for an earlier call brings the arguments of that call.

    Raises: ParamsMalformed, PolicyDenied, AuthenticationInsufficient, PolicyUndecidable
    """
    given = covered.call.arguments if target.arguments is None else target.arguments
    arguments, policy = _typed(target, given or {}, gate), gate.policy
    lasting = gate.asked.find(target, request.address, covered, policy)
    if lasting is not None:
        decided = policy.again(lasting, arguments)
        if decided is not None:
            return decided
    question = _question(target, arguments, request, covered, gate)
    decision = _ask(question, gate)
    if lasting is None or not lasting.keep(arguments, decision):
        lasting = policy.lasting(question)
        if lasting is not None and lasting.keep(arguments, decision):
            gate.asked.keep(target, request.address, covered, policy, lasting)
    return decision


def recorded_arguments(call: Call, gate: Gate) -> Mapping[str, Any] | None:
    """What the journal may hold of a call's arguments: those that the resource lists, as policy sees them.

    None where the call has none, or they contradict the tool's schema: then it is refused before policy sees them.
    """
    if call.arguments is None or not call.targets:
        return None
    target = call.targets[0]
    try:
        return written_arguments(gate.resource.record_arguments, _typed(target, call.arguments, gate))
    except ParamsMalformed:
        return None


def _typed(target: Target, arguments: Mapping[str, Any], gate: Gate) -> dict[str, Visible | None]:
    """Raises: ParamsMalformed."""
    if target.action is not Action.CALL_TOOL:
        return type_arguments(None, arguments)
    return gate.tool_checks.type_arguments(target.name, gate.catalogue.schema_of(target.name), arguments)


def _question(
    target: Target, arguments: Mapping[str, Any], request: Request, asked: Covered | Permit, gate: Gate
) -> Question:
    token, call = asked.bound.token, asked.call
    return Question(
        target=target,
        agent=token.agent,
        server=gate.resource.name,
        subject=token.subject if token.subject.startswith(PERSON_PREFIX) else None,
        client_id=token.client_id,
        actors=asked.bound.actors if token.actor is not None else (),
        scopes=token.scopes,
        hop=token.hop,
        now=int(gate.clock()),
        arguments=arguments,
        tenant=token.tenant,
        ip=request.address or "",
        revision=call.revision,
        session=session_fingerprint(call.session) if call.session is not None else "",
        task=asked.task,
        authentication=token.authentication,
    )


def _all_of(decisions: Sequence[Allow | NeedsApproval], version: str) -> Allow | NeedsApproval:
    """The decision on a call of which all these things are asked: one that needs approval makes all of it need it."""
    policies = tuple(dict.fromkeys(each for decision in decisions for each in decision.policies))
    needing = [decision for decision in decisions if isinstance(decision, NeedsApproval)]
    if not needing:
        return Allow(policies, version)
    return NeedsApproval(policies, version, tuple(dict.fromkeys(each for one in needing for each in one.asking)))


def _ask(question: Question, gate: Gate) -> Allow | NeedsApproval:
    match decision := gate.policy.decide(question):
        case Allow() | NeedsApproval():
            return decision
        case Deny(failed=True):
            raise PolicyUndecidable(decision.detail, policies=decision.policies, policy_version=decision.policy_version)
        case Deny(wanted=AuthenticationWanted() as wanted):
            raise AuthenticationInsufficient(
                max_age=wanted.max_age,
                acr_values=wanted.acr_values,
                scopes=tuple(sorted(question.scopes)),
                policies=decision.policies,
                policy_version=decision.policy_version,
            )
        case Deny():
            raise PolicyDenied(decision.detail, policies=decision.policies, policy_version=decision.policy_version)
        case _:
            assert_never(decision)
