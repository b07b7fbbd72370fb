"""Assertions that stand in for a grant: one parser and one check for both kinds, told apart by `typ` and issuer.

Spec: RFC 7523 §3
Spec: RFC 8725 §3.11
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.assertion import AssertionIssuer, AssertionKind, VerifiedAssertion
from perhop.errors import (
    AudienceMismatch,
    AudienceMissing,
    AudienceMultiple,
    SenderMismatch,
    TokenExpired,
    TokenLifetimeTooLong,
    TokenMalformed,
    TokenNotYetValid,
    TokenTypeWrong,
)
from perhop.rules.lifetime import MAX_SKEW
from perhop.tokens.claims import MAX_ID_LENGTH, parse_name, parse_time
from perhop.tokens.keys import VerifyKey
from perhop.tokens.parse import CompactJws, parse_compact
from perhop.tokens.signature import check_signature, parse_algorithm

ID_JAG_TYPE = "oauth-id-jag+jwt"
_WORKLOAD_TYPES = (None, "JWT", "JOSE")
"""What platforms write, if they write anything; the third is allowed by SPIFFE's JWT-SVID §2.3."""


@dataclass(frozen=True, slots=True)
class PresentedAssertion:
    """An assertion as it came: of which kind it claims to be, and whose. Nothing of it is verified."""

    kind: AssertionKind
    issuer: str
    jws: CompactJws


def parse_assertion(raw: str) -> PresentedAssertion:
    """Read an assertion, and tell by its type of which kind it claims to be.

    Spec: RFC 8725 §3.11
    Raises: TokenMalformed, TokenTypeWrong
    """
    jws = parse_compact(raw)
    if jws.media_type == ID_JAG_TYPE:
        kind = AssertionKind.IDENTITY_ASSERTION
    elif jws.media_type in _WORKLOAD_TYPES:
        kind = AssertionKind.WORKLOAD
    else:
        raise TokenTypeWrong("`typ` is that of another kind of token")
    return PresentedAssertion(kind, parse_name(jws.payload, "iss"), jws)


def verify_assertion(
    presented: PresentedAssertion,
    issuer: AssertionIssuer,
    *,
    keys: Mapping[str, VerifyKey],
    audience: str,
    now: int,
) -> VerifiedAssertion:
    """Verify an assertion of this issuer: type -> signature -> audience -> times -> sender -> subject and id.

    `keys` are this issuer's. Does NOT check who brings it, that it is new, or what it gives. No leeway on `exp`.

    Spec: RFC 7523 §3
    Raises: TokenTypeWrong, TokenSignatureInvalid, TokenKeyUnknown, TokenMalformed, AudienceMissing, AudienceMultiple,
        AudienceMismatch, TokenNotYetValid, TokenLifetimeTooLong, TokenExpired, SenderMismatch
    """
    jws = presented.jws
    if presented.kind is not issuer.kind:
        raise TokenTypeWrong(f"issuer `{issuer.name}` is trusted for another kind of assertion")
    check_signature(jws, parse_algorithm(jws), keys)
    if one_text(jws.payload, "aud") != audience:
        raise AudienceMismatch("`aud` is not our issuer")
    issued_at = _check_times(jws.payload, issuer, now=now)
    if "cnf" in jws.payload:
        # The draft lets a key be confirmed by a DPoP proof, which is not taken here: so whoever stole it could use it.
        raise SenderMismatch("the assertion is bound to a key")
    needs_id = issuer.single_use or "jti" in jws.payload
    return VerifiedAssertion(
        issuer=issuer,
        subject=parse_name(jws.payload, "sub"),
        jti=parse_name(jws.payload, "jti", MAX_ID_LENGTH) if needs_id else None,
        issued_at=issued_at,
        expires_at=parse_time(jws.payload, "exp"),
        claims=jws.payload,
    )


def one_text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that is one text, or a list of just one, which is how platforms and the draft may write it.

    Spec: RFC 7519 §4.1.3
    Raises: AudienceMissing, AudienceMultiple, TokenMalformed
    """
    value = claims.get(name)
    if isinstance(value, list) and len(value) > 1:
        raise AudienceMultiple(f"`{name}` names more than one")
    if value in (None, "", []):
        raise AudienceMissing(f"`{name}` is missing or empty")
    return parse_name({name: value[0] if isinstance(value, list) else value}, name)


def _check_times(claims: Mapping[str, Any], issuer: AssertionIssuer, *, now: int) -> int | None:
    """Returns `iat`. What lies between `exp` and now is bounded whatever `iat` says: so long an id is remembered."""
    expires_at = parse_time(claims, "exp")
    needs_issue = issuer.kind is AssertionKind.IDENTITY_ASSERTION or "iat" in claims
    issued_at = parse_time(claims, "iat") if needs_issue else None
    not_before = parse_time(claims, "nbf") if "nbf" in claims else 0
    if max(issued_at or 0, not_before) > now + MAX_SKEW:
        raise TokenNotYetValid("`iat` or `nbf` lies in the future")
    if issued_at is not None and expires_at <= issued_at:
        raise TokenMalformed("`exp` is not after `iat`")
    longest = max(expires_at - now - MAX_SKEW, 0 if issued_at is None else expires_at - issued_at)
    if longest > issuer.max_lifetime:
        raise TokenLifetimeTooLong(f"good for {longest} s, at most {issuer.max_lifetime} s are accepted")
    if now >= expires_at:
        raise TokenExpired(f"expired {now - expires_at} s ago")
    return issued_at
