"""Verifying access tokens: the one place that makes a VerifiedToken.

Spec: RFC 9068 §4
Spec: RFC 8725 §3
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from perhop.core.token import VerifiedToken
from perhop.errors import TokenExpired, TokenIssuerUnknown, TokenTypeWrong
from perhop.rules.lifetime import Leeway as Leeway
from perhop.rules.lifetime import check_times
from perhop.tokens.claims import parse_audience, parse_claims, parse_name
from perhop.tokens.keys import VerifyKey
from perhop.tokens.parse import CompactJws, parse_compact
from perhop.tokens.signature import check_signature_under, find_key, parse_algorithm

ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")

IssuerKeys = Mapping[str, Mapping[str, VerifyKey]]
"""Issuer -> `kid` -> key. A key counts for its issuer only. Spec: RFC 8725 §3.8."""


def verify(raw: str, *, keys: IssuerKeys, now: int, leeway: Leeway) -> VerifiedToken:
    """Verify an access token: parse -> type -> algorithm -> issuer -> signature -> claims -> times -> audience.

    The audience is taken only as one text. Does NOT check that it is ours: that is `bind_audience`; nor the sender,
    revocation, standing, scope or policy.

    Spec: RFC 9068 §4
    Raises: TokenMalformed, TokenTypeWrong, TokenSignatureInvalid, TokenIssuerUnknown, TokenKeyUnknown,
        TokenNotYetValid, TokenLifetimeTooLong, TokenExpired, AudienceMissing, AudienceMultiple
    """
    return verify_parsed(raw, parse_compact(raw), keys=keys, now=now, leeway=leeway).token


@dataclass(frozen=True, slots=True)
class Verification:
    """What held, and what it rests on: the key, which is the issuer's under the name in the header, and the times."""

    token: VerifiedToken
    key: VerifyKey
    not_before: int | None


def verify_parsed(raw: str, jws: CompactJws, *, keys: IssuerKeys, now: int, leeway: Leeway) -> Verification:
    """The same for a token that has been parsed: `jws` is `parse_compact(raw)`.

    Spec: RFC 9068 §4
    Raises: TokenTypeWrong, TokenSignatureInvalid, TokenIssuerUnknown, TokenKeyUnknown, TokenMalformed,
        TokenNotYetValid, TokenLifetimeTooLong, TokenExpired, AudienceMissing, AudienceMultiple
    """
    if jws.media_type not in ACCESS_TOKEN_TYPES:
        raise TokenTypeWrong("`typ` is not `at+jwt`")
    algorithm = parse_algorithm(jws)
    issuer = parse_name(jws.payload, "iss")
    # Compared byte for byte; a slash or a capital letter more is another issuer. Spec: RFC 9207 §2.4
    if issuer not in keys:
        raise TokenIssuerUnknown("`iss` is not an issuer that is trusted here")
    key = find_key(jws, keys[issuer])
    check_signature_under(jws, algorithm, key)
    claims = parse_claims(jws.payload)
    try:
        check_times(
            issued_at=claims.issued_at,
            not_before=claims.not_before,
            expires_at=claims.expires_at,
            now=now,
            leeway=leeway,
        )
    except TokenExpired as fact:
        raise TokenExpired(fact.detail, jti=claims.jti) from fact
    token = VerifiedToken(
        issuer=issuer,
        jti=claims.jti,
        subject=claims.subject,
        client_id=claims.client_id,
        audience=parse_audience(jws.payload),
        scopes=claims.scopes,
        issued_at=claims.issued_at,
        expires_at=claims.expires_at,
        agent=claims.agent,
        fingerprint=hashlib.sha256(raw.encode("ascii")).hexdigest(),
        actor=claims.actor,
        may_act=claims.may_act,
        txn=claims.txn,
        hop=claims.hop,
        tenant=claims.tenant,
        task=claims.task,
        call=claims.call,
        sender=claims.sender,
        authentication=claims.authentication,
    )
    return Verification(token, key, claims.not_before)
