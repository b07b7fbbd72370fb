"""Authenticate: the token of a request, verified; and, once it is bound, what else a token can be refused for.

Spec: RFC 6750 §2.1
Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

from perhop.core.decision import InForce
from perhop.core.task import Task
from perhop.core.token import BoundToken, VerifiedToken
from perhop.errors import CallMismatch, PolicyRefused, RateExceeded, SenderMismatch
from perhop.gateway.gate import Gate
from perhop.gateway.request import Request
from perhop.rules.bearer import parse_bearer


def authenticate(request: Request, gate: Gate) -> VerifiedToken:
    """Read the one bearer token and verify it.

    Every request brings its own: a session or a connection is never a credential. Does not look at the audience.

    Spec: RFC 6750 §2.1
    Raises: TokenMissing, TokenMalformed, TokenSignatureInvalid, TokenTypeWrong, TokenIssuerUnknown,
    TokenLifetimeTooLong, TokenExpired, AudienceMissing, AudienceMultiple
    """
    return gate.verify(parse_bearer(request.headers))


async def check_standing(request: Request, bound: BoundToken, gate: Gate) -> InForce:
    """Refuse a token that is not good any more, or not good as a mere bearer token. Looked at on every request.

    The task comes before revocations: the tokens of one that is over are revoked, and the reason is the task.

    Raises: SenderMismatch, CallMismatch, TaskOutside, TaskSuperseded, TaskExpired, TokenRevoked, AgentDisabled,
        AgentExpired, OwnerMissing, RateExceeded, BodyTooLarge, BodyTooSlow
    """
    if bound.token.sender_bound:
        raise SenderMismatch("bound to a key, and no proof of it is taken here")
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
