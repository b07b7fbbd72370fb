"""Audience: a token is good for exactly one resource.

Spec: RFC 8707 §2
Spec: RFC 9068 §4
"""

from __future__ import annotations

from perhop.core.resource import ResourceUri
from perhop.core.token import BoundToken, VerifiedToken
from perhop.errors import AudienceMismatch


def bind_audience(token: VerifiedToken, resource: ResourceUri) -> BoundToken:
    """Bind a verified token to exactly one resource.

    Compares as received, byte for byte: nothing is parsed, lowered or trimmed. Does not look at scopes, the actor
    chain, revocation or policy.

    Spec: RFC 8707 §2
    Spec: RFC 9068 §4
    Raises: AudienceMismatch
    """
    # DEVIATES: RFC 7519 §4.1.3 lets `aud` be a list; the parser has refused lists, so this is one string.
    if token.audience != resource:
        raise AudienceMismatch(f"addressed to `{token.audience}`, expected `{resource}`")
    return BoundToken(token, resource)
