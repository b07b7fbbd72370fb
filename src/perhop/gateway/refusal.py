"""Refusals: the one place of the gateway that turns a fact into an HTTP answer.

Spec: RFC 6750 §3
Spec: RFC 9470 §3
Spec: RFC 9728 §5.1
Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

from dataclasses import replace

from perhop.core.call import CallKind, Reply
from perhop.core.resource import Resource
from perhop.errors import (
    ApprovalRequired,
    AuthenticationInsufficient,
    BearerRefused,
    HttpMethodNotAllowed,
    RateExceeded,
    Refused,
    Unavailable,
)
from perhop.gateway.gate import Gate
from perhop.gateway.request import Request
from perhop.gateway.trail import Trail
from perhop.rules.bearer import uses_dpop
from perhop.rules.challenge import metadata_url, render_challenge, taken_schemes
from perhop.rules.mcp_message import Addressee, addressee_of
from perhop.rules.refusal_body import refusal_body, refusal_status


def refuse(fact: Refused | Unavailable, request: Request, trail: Trail) -> Reply:
    """Render a refusal: status, challenge, and the body that belongs to it; a notification gets none.

    Spec: RFC 6750 §3.1
    """
    to = _addressee(request, trail)
    body = b"" if to.is_notification else refusal_body(fact, rpc_id=to.rpc_id, record=trail.call_id)
    headers = [("cache-control", "no-store")]
    if body:
        headers.append(("content-type", "application/json"))
    match fact:
        case BearerRefused() | AuthenticationInsufficient():
            headers.append(("www-authenticate", _challenge(fact, request, trail.resource)))
        case HttpMethodNotAllowed():
            headers.append(("allow", fact.allow))
        case Unavailable() | ApprovalRequired() | RateExceeded():
            headers.append(("retry-after", str(fact.retry_after)))
        case _:
            pass
    headers.append(("content-length", str(len(body))))
    return Reply(status=refusal_status(fact), headers=tuple(headers), body=body)


def with_nonce(reply: Reply, request: Request, gate: Gate) -> Reply:
    """The same answer; whoever speaks of proofs hears the nonce for the next one. Spec: RFC 9449 §8.2, RFC 9449 §9."""
    if not uses_dpop(request.headers):
        return reply
    nonce = gate.proofs.nonces.current(int(gate.clock()))
    return replace(reply, headers=(("dpop-nonce", nonce), *reply.headers))


def _challenge(fact: BearerRefused | AuthenticationInsufficient, request: Request, resource: Resource) -> str:
    return render_challenge(
        fact,
        metadata_url=metadata_url(resource.uri),
        scopes=resource.advertised_scopes(),
        taken=taken_schemes(request.headers, must_be_bound=resource.must_be_bound),
    )


def _addressee(request: Request, trail: Trail) -> Addressee:
    call = trail.call
    if call is None:
        return addressee_of(request.body.octets)
    return Addressee(call.rpc_id, call.kind is CallKind.NOTIFICATION)
