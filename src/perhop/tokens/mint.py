"""Minting: the one place that signs access tokens. One audience, by type.

Leaves to others who may have which token, and its durable record, which comes before it leaves.

Spec: RFC 9068 §2
"""

from __future__ import annotations

from typing import Any

from perhop.core.actor import Actor
from perhop.core.call import CallBinding
from perhop.core.secret import Secret
from perhop.core.token import MintedToken, TokenDraft
from perhop.errors import TokenRequestMalformed
from perhop.rules.lifetime import MAX_LIFETIME
from perhop.rules.scope import render_scope
from perhop.tokens.keys import SigningKey
from perhop.tokens.parse import MAX_TOKEN_BYTES
from perhop.tokens.signature import sign_compact


def mint(draft: TokenDraft, key: SigningKey) -> MintedToken:
    """Sign what the draft says.

    Spec: RFC 9068 §2.2
    Raises: TokenRequestMalformed
    """
    # INVARIANT: no token of ours outlives what any verifier accepts, nor lacks an audience.
    if not 0 < draft.expires_at - draft.issued_at <= MAX_LIFETIME or not draft.audience:
        raise ValueError("a draft without audience, or of a lifetime that no verifier accepts")
    raw = sign_compact(render_claims(draft), media_type="at+jwt", key=key)
    if len(raw) > MAX_TOKEN_BYTES:
        raise TokenRequestMalformed(f"the token would be longer than {MAX_TOKEN_BYTES} bytes")
    return MintedToken(Secret(raw), draft)


def render_claims(draft: TokenDraft) -> dict[str, Any]:
    """The claims of the token that this draft becomes.

    Spec: RFC 9068 §2.2
    Spec: RFC 9068 §2.2.1
    Spec: RFC 8693 §4.1
    Spec: RFC 9449 §6.1
    """
    claims: dict[str, Any] = {
        "iss": draft.issuer,
        "sub": draft.subject,
        "client_id": draft.client_id,
        "aud": draft.audience,
        "iat": draft.issued_at,
        "exp": draft.expires_at,
        "jti": draft.jti,
        "scope": render_scope(draft.scopes),
        "txn": draft.txn,
        "hop": draft.hop,
    }
    if draft.agent is not None:
        claims["agent"] = draft.agent
    if draft.actor is not None:
        claims["act"] = render_actor(draft.actor)
    if draft.tenant is not None:
        claims["tenant"] = draft.tenant
    if draft.sender is not None:
        claims["cnf"] = {"jkt": draft.sender.thumbprint}
    if draft.authentication.time is not None:
        claims["auth_time"] = draft.authentication.time
    if draft.authentication.acr is not None:
        claims["acr"] = draft.authentication.acr
    details = [*_render_task(draft.task), *_render_call(draft.call)]
    if details:
        claims["authorization_details"] = details
    return claims


def _render_task(task: str | None) -> list[dict[str, Any]]:
    return [] if task is None else [{"type": "agent_task", "id": task}]


def _render_call(call: CallBinding | None) -> list[dict[str, Any]]:
    """The one call that the token is good for. Spec: RFC 9396 §2."""
    if call is None:
        return []
    name = {} if call.name is None else {"name": call.name}
    digests = {"arguments_sha256": call.arguments_sha256, "params_sha256": call.params_sha256}
    return [{"type": "mcp_call", "method": call.method, **name, **digests}]


def render_actor(actor: Actor) -> dict[str, Any]:
    """The `act` claim of this chain. Spec: RFC 8693 §4.1."""
    rendered: dict[str, Any] = {}
    for subject in reversed(list(actor.chain())):
        rendered = {"sub": subject, "act": rendered} if rendered else {"sub": subject}
    return rendered
