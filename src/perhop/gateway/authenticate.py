"""Authenticate: the token of a request, verified; and, once it is bound, who sent it and whether it is good now.

Spec: RFC 6750 §2.1
Spec: RFC 9449 §7
Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

from perhop.core.decision import InForce
from perhop.core.token import BoundToken, ProvedToken, VerifiedToken
from perhop.errors import CallMismatch, PolicyRefused, RateExceeded
from perhop.gateway.gate import Gate
from perhop.gateway.known_callers import Known
from perhop.gateway.request import Request
from perhop.rules.bearer import Scheme, parse_presented
from perhop.tokens.possession import check_sender


def authenticate(request: Request, gate: Gate) -> VerifiedToken:
    """Read the one token and verify it.

    Every request brings its own: a session or a connection is never a credential. Does not look at the audience, nor at
    who sent it.

    Spec: RFC 6750 §2.1
    Raises: TokenMissing, TokenMalformed, TokenSignatureInvalid, TokenTypeWrong, TokenIssuerUnknown,
    TokenLifetimeTooLong, TokenExpired, AudienceMissing, AudienceMultiple
    """
    known = gate.callers.find(request.headers, gate.resource)
    if known is not None and gate.standing.holds(known.seen):
        return known.caller
    return gate.verify(parse_presented(request.headers).token)


async def prove_sender(request: Request, bound: BoundToken, gate: Gate) -> ProvedToken:
    """Refuse a token that is bound to a key and comes without a good proof of it, made for this request, used once.

    Whatever the request says of its URI, the proof must be for the resource's own.

    Spec: RFC 9449 §7.1
    Raises: SenderMismatch, ProofRefused, ProofNonceNeeded, ProofReplayed, StorageUnavailable
    """
    resource = gate.resource
    known = gate.callers.find(request.headers, resource)
    if known is not None and known.caller is bound.token:
        return known.proved  # a bearer token, presented as one: there is nothing to prove
    return await check_sender(
        request.headers,
        bound,
        lambda: gate.proofs,
        method=request.http_method,
        uri=resource.uri,
        must_be_bound=resource.must_be_bound,
        now=int(gate.clock()),
    )


async def check_standing(request: Request, proved: ProvedToken, gate: Gate) -> InForce:
    """Refuse a token that is not good any more. Looked at on every request.

    The task comes before revocations: the tokens of one that is over are revoked, and the reason is the task.

    Raises: CallMismatch, TaskOutside, TaskSuperseded, TaskExpired, TokenRevoked, AgentDisabled,
        AgentExpired, OwnerMissing, RateExceeded, BodyTooLarge, BodyTooSlow
    """
    known = gate.callers.find(request.headers, gate.resource)
    if known is not None and known.proved is proved and gate.standing.holds(known.seen):
        in_force = known.in_force
    else:
        in_force = await _check_anew(request, proved, gate)
    try:  # every request counts, whatever it asks for and wherever it leads
        gate.rates.check(in_force.bound.token.agent)
    except RateExceeded:
        await _read_id(request)
        raise
    return in_force


async def _check_anew(request: Request, proved: ProvedToken, gate: Gate) -> InForce:
    """Raises: CallMismatch, TaskOutside, TaskSuperseded, TaskExpired, TokenRevoked, AgentDisabled, AgentExpired,
    OwnerMissing, BodyTooLarge, BodyTooSlow
    """
    bound = proved.bound
    if bound.token.call is not None:
        raise CallMismatch("bound to one call, and this is not shown to be it")
    try:
        task = gate.tasks.check_token(bound.token)
    except PolicyRefused:  # whoever sends a message under one that is over hears it as that message's answer
        await _read_id(request)
        raise
    # INVARIANT: looked at before the checks: what changes meanwhile is seen by the next request.
    seen = gate.standing.look(bound.token)
    gate.revoked.check(bound)
    gate.standing.check(bound, gate.resource)
    in_force = InForce(bound, task)
    if seen is not None and task is None:
        _keep(request, proved, in_force, seen, gate)
    return in_force


def _keep(request: Request, proved: ProvedToken, in_force: InForce, seen: object, gate: Gate) -> None:
    """Know this caller again, if it is a bearer token, and a good one now: it may have been verified a while ago."""
    token, resource = proved.bound.token, gate.resource
    if token.sender is not None or resource.must_be_bound:
        return
    presented = parse_presented(request.headers)
    if presented.scheme is Scheme.BEARER and gate.verify(presented.token) is token:
        known = Known(resource, token, proved, in_force, seen)
        gate.callers.keep(request.headers, known, now=int(gate.clock()))


async def _read_id(request: Request) -> None:
    """The caller is bound: its message may be read, and has an id to answer to."""
    if not request.body.is_settled:
        await request.body.read()
