"""Authenticate: the token of a request, verified; and, once it is bound, who sent it and whether it is good now.

Spec: RFC 6750 §2.1
Spec: RFC 9449 §7
Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

from perhop.core.decision import InForce
from perhop.core.task import Task
from perhop.core.token import BoundToken, ProvedToken, VerifiedToken
from perhop.errors import CallMismatch, PolicyRefused, RateExceeded
from perhop.gateway.gate import Gate
from perhop.gateway.request import Request
from perhop.rules.bearer import parse_presented
from perhop.tokens.possession import check_sender


def authenticate(request: Request, gate: Gate) -> VerifiedToken:
    """Read the one token and verify it.

    Every request brings its own: a session or a connection is never a credential. Does not look at the audience, nor at
    who sent it.

    Spec: RFC 6750 §2.1
    Raises: TokenMissing, TokenMalformed, TokenSignatureInvalid, TokenTypeWrong, TokenIssuerUnknown,
    TokenLifetimeTooLong, TokenExpired, AudienceMissing, AudienceMultiple
    """
    return gate.verify(parse_presented(request.headers).token)


async def prove_sender(request: Request, bound: BoundToken, gate: Gate) -> ProvedToken:
    """Refuse a token that is bound to a key and comes without a good proof of it, made for this request, used once.

    Whatever the request says of its URI, the proof must be for the resource's own.

    Spec: RFC 9449 §7.1
    Raises: SenderMismatch, ProofRefused, ProofNonceNeeded, ProofReplayed, StorageUnavailable
    """
    resource = gate.resource
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
    bound = proved.bound
    if bound.token.call is not None:
        raise CallMismatch("bound to one call, and this is not shown to be it")
    task = await _check_task(request, bound, gate)
    gate.revoked.check(bound)
    gate.standing.check(bound, gate.resource)
    await _check_rate(request, bound, gate)
    return InForce(bound, task)


async def _check_task(request: Request, bound: BoundToken, gate: Gate) -> Task | None:
    """The task that the token names. Whoever sends a message under one that is over hears it as that message's answer.

    Raises: TaskOutside, TaskSuperseded, TaskExpired, BodyTooLarge, BodyTooSlow
    """
    try:
        return gate.tasks.check_token(bound.token)
    except PolicyRefused:
        await _read_id(request)
        raise


async def _check_rate(request: Request, bound: BoundToken, gate: Gate) -> None:
    """Every request counts, whatever it asks for and wherever it leads.

    Raises: RateExceeded, BodyTooLarge, BodyTooSlow
    """
    try:
        gate.rates.check(bound.token.agent)
    except RateExceeded:
        await _read_id(request)
        raise


async def _read_id(request: Request) -> None:
    """The caller is bound: its message may be read, and has an id to answer to."""
    if not request.body.is_settled:
        await request.body.read()
