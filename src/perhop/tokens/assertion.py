"""Client assertions: a client proves who it is with a JWT that it signs itself.

That an assertion is used once only is the caller's to keep: `jti` and `expires_at` are what it needs.

Spec: RFC 7523 §2.2
Spec: RFC 10070
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perhop.errors import BearerRefused, ClientAuthenticationFailed
from perhop.rules.lifetime import MAX_SKEW
from perhop.tokens.claims import MAX_ID_LENGTH, parse_name, parse_time
from perhop.tokens.keys import SigningKey, VerifyKey
from perhop.tokens.parse import CompactJws, parse_compact
from perhop.tokens.signature import check_signature, check_signature_under, parse_algorithm, sign_compact

ASSERTION_TYPE = "client-authentication+jwt"
MAX_ASSERTION_LIFETIME = 300
"""How far ahead `exp` may lie, besides the skew of clocks: as long must a used `jti` be remembered."""
_ACCEPTED_TYPES = (None, "JWT", ASSERTION_TYPE, f"application/{ASSERTION_TYPE}")


@dataclass(frozen=True, slots=True)
class Assertion:
    """A client assertion that holds; times in seconds since the epoch. `issued_at` is None where it does not say."""

    jti: str
    expires_at: int
    issued_at: int | None = None


def assertion_client_id(raw: str) -> str:
    """Whom an assertion claims to come from, UNVERIFIED: good for finding the client's keys, and for nothing else.

    Spec: RFC 7521 §4.2
    Raises: ClientAuthenticationFailed
    """
    try:
        return parse_name(parse_compact(raw).payload, "sub")
    except BearerRefused as error:
        raise ClientAuthenticationFailed(f"client assertion: {error.detail}") from None


def read_client_assertion(
    raw: str, *, client_id: str, keys: Mapping[str, VerifyKey], audience: str, now: int
) -> Assertion:
    """Check a client's assertion: type, signature under one of its keys, issuer and subject, audience, times.

    Does NOT check that it was not used before. No leeway on `exp`.

    Spec: RFC 7523 §3
    Spec: RFC 10070
    Raises: ClientAuthenticationFailed
    """
    try:
        return _read(raw, client_id=client_id, keys=keys, audience=audience, now=now)
    except BearerRefused as error:
        raise ClientAuthenticationFailed(f"client assertion: {error.detail}") from None


def _read(raw: str, *, client_id: str, keys: Mapping[str, VerifyKey], audience: str, now: int) -> Assertion:
    jws = parse_compact(raw)
    if jws.media_type not in _ACCEPTED_TYPES:
        raise ClientAuthenticationFailed("client assertion: `typ` is that of another kind of token")
    _check_signature(jws, keys)
    claims = jws.payload
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise ClientAuthenticationFailed("client assertion: `iss` and `sub` are not the client's id")
    # DEVIATES: RFC 7519 §4.1.3 lets `aud` be a list; an assertion that is good at two places can be played on at one.
    if claims.get("aud") != audience:
        raise ClientAuthenticationFailed("client assertion: `aud` is not the issuer, as one string")
    expires_at = parse_time(claims, "exp")
    youngest = max(parse_time(claims, name) if name in claims else 0 for name in ("iat", "nbf"))
    if expires_at <= now or expires_at > now + MAX_ASSERTION_LIFETIME + MAX_SKEW or youngest > now + MAX_SKEW:
        raise ClientAuthenticationFailed("client assertion: expired, from the future, or good for too long")
    issued_at = parse_time(claims, "iat") if "iat" in claims else None
    return Assertion(parse_name(claims, "jti", MAX_ID_LENGTH), expires_at, issued_at)


def _check_signature(jws: CompactJws, keys: Mapping[str, VerifyKey]) -> None:
    """Under the key that the header names; a client with one key may leave the name out. Spec: RFC 7515 §4.1.4."""
    if jws.key_id is None and len(keys) == 1:
        check_signature_under(jws, parse_algorithm(jws), *keys.values())
    else:
        check_signature(jws, parse_algorithm(jws), keys)


def sign_client_assertion(
    *, client_id: str, audience: str, key: SigningKey, now: int, jti: str, lifetime: int = 60
) -> str:
    """An assertion for one authorization server; `audience` is its issuer identifier.

    Spec: RFC 7523 §3
    Spec: RFC 10070
    """
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": now,
        "exp": now + lifetime,
        "jti": jti,
    }
    return sign_compact(claims, media_type=ASSERTION_TYPE, key=key)
