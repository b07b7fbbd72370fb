"""ID tokens of OpenID providers: what a provider says of the person whom it has just signed in, for us and nobody else.

An ID token is no access token and opens nothing; where it ends, a session of our own begins.

Spec: OpenID Connect Core 1.0 §3.1.3.7
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.authentication import Authentication
from perhop.errors import (
    AudienceMismatch,
    TokenExpired,
    TokenIssuerUnknown,
    TokenMalformed,
    TokenNotYetValid,
    TokenReplayed,
    TokenTypeWrong,
)
from perhop.rules import base64url
from perhop.rules.lifetime import MAX_SKEW
from perhop.tokens.claims import MAX_ID_LENGTH, parse_name, parse_time
from perhop.tokens.keys import VerifyKey
from perhop.tokens.parse import CompactJws, parse_compact
from perhop.tokens.public_key import Algorithm
from perhop.tokens.signature import check_signature, check_signature_under, parse_algorithm

MAX_ID_TOKEN_BYTES = 32 * 1024
"""Longer than an access token of ours: a provider may name hundreds of groups."""
MAX_SUBJECT_LENGTH = 255
"""Spec: OpenID Connect Core 1.0 §2"""

_ACCEPTED_TYPES = (None, "JWT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What we asked the provider for, and what its answer must therefore say.

    `began_at` and `max_age` are in seconds; with a `max_age` the answer must say when the person last signed in.
    """

    issuer: str
    client_id: str
    nonce: str
    began_at: int
    max_age: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdToken:
    """An ID token that holds. `auth_time` is when the person signed in there, where the provider says so."""

    subject: str
    auth_time: int | None
    claims: Mapping[str, Any]

    @property
    def authentication(self) -> Authentication:
        """When and how the person signed in there. An `acr` that nobody could ask for is none."""
        acr = self.claims.get("acr")
        is_one = isinstance(acr, str) and 0 < len(acr) <= MAX_ID_LENGTH and acr.isprintable() and " " not in acr
        return Authentication(self.auth_time, acr if is_one else None)


def key_id_of(raw: str) -> str | None:
    """The name of the key under which an ID token says it is signed, UNVERIFIED: good for finding that key.

    Raises: TokenMalformed
    """
    return parse_compact(raw, max_bytes=MAX_ID_TOKEN_BYTES).key_id


def read_id_token(
    raw: str, *, asked: Asked, keys: Mapping[str, VerifyKey], access_token: str | None, now: int
) -> IdToken:
    """Check an ID token: type -> signature by the issuer's keys -> issuer -> audience -> times -> nonce -> `at_hash`.

    `keys` must be those of `asked.issuer`. Does NOT look whether the nonce came before: who begins a sign-in makes a
    fresh one, and takes one answer to it. `access_token` is the one that came with it, whose `at_hash` must then agree.

    Spec: OpenID Connect Core 1.0 §3.1.3.7
    Raises: TokenMalformed, TokenTypeWrong, TokenSignatureInvalid, TokenKeyUnknown, TokenIssuerUnknown,
        AudienceMismatch, TokenExpired, TokenNotYetValid, TokenReplayed
    """
    jws = parse_compact(raw, max_bytes=MAX_ID_TOKEN_BYTES)
    if jws.media_type not in _ACCEPTED_TYPES:
        raise TokenTypeWrong("`typ` is that of another kind of token")
    algorithm = parse_algorithm(jws)
    _check_signature(jws, algorithm, keys)
    claims = jws.payload
    if claims.get("iss") != asked.issuer:
        raise TokenIssuerUnknown("`iss` is not the provider that was asked")
    _check_audience(claims, asked.client_id)
    _check_times(claims, asked, now=now)
    if not _is_equal(claims.get("nonce"), asked.nonce):
        raise TokenReplayed("`nonce` is not the one that this sign-in was begun with")
    _check_access_token(claims, algorithm, access_token)
    return IdToken(
        subject=parse_name(claims, "sub", MAX_SUBJECT_LENGTH),
        auth_time=_auth_time(claims, asked, now=now),
        claims=claims,
    )


def _check_signature(jws: CompactJws, algorithm: Algorithm, keys: Mapping[str, VerifyKey]) -> None:
    """Under the key that the header names; a provider with one key may leave the name out.

    Spec: OpenID Connect Core 1.0 §10.1
    """
    if jws.key_id is None and len(keys) == 1:
        check_signature_under(jws, algorithm, *keys.values())
    else:
        check_signature(jws, algorithm, keys)


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    """We, and nobody besides: we trust no other audience. Spec: OpenID Connect Core 1.0 §3.1.3.7."""
    if claims.get("aud") not in (client_id, [client_id]):
        raise AudienceMismatch("`aud` is not our client id at the provider, and that alone")
    if claims.get("azp", client_id) != client_id:
        raise AudienceMismatch("`azp` is not our client id at the provider")


def _check_times(claims: Mapping[str, Any], asked: Asked, *, now: int) -> None:
    issued_at, expires_at = parse_time(claims, "iat"), parse_time(claims, "exp")
    if expires_at + MAX_SKEW <= now:
        raise TokenExpired("the ID token has expired")
    if issued_at > now + MAX_SKEW:
        raise TokenNotYetValid("the ID token is from the future")
    if issued_at < asked.began_at - MAX_SKEW:
        raise TokenExpired("the ID token is older than the sign-in that it answers")


def _check_access_token(claims: Mapping[str, Any], algorithm: Algorithm, access_token: str | None) -> None:
    """Spec: OpenID Connect Core 1.0 §3.1.3.8."""
    if "at_hash" not in claims or access_token is None:
        return
    digest = hashlib.sha512 if algorithm is Algorithm.ED25519 else hashlib.sha256
    half = digest(access_token.encode("ascii", "replace")).digest()
    if not _is_equal(claims["at_hash"], base64url.encode(half[: len(half) // 2])):
        raise TokenMalformed("`at_hash` is not that of the access token")


def _auth_time(claims: Mapping[str, Any], asked: Asked, *, now: int) -> int | None:
    """When the person signed in there; never later than now.

    Spec: OpenID Connect Core 1.0 §3.1.2.1
    """
    if "auth_time" not in claims:
        if asked.max_age is not None:
            raise TokenMalformed("`auth_time` is missing, and we asked for a sign-in not long ago")
        return None
    auth_time = parse_time(claims, "auth_time")
    if auth_time > now + MAX_SKEW:
        raise TokenNotYetValid("`auth_time` is in the future")
    if asked.max_age is not None and auth_time + asked.max_age + MAX_SKEW < now:
        raise TokenExpired("the person signed in there longer ago than we asked for")
    return min(auth_time, now)


def _is_equal(said: object, expected: str) -> bool:
    return isinstance(said, str) and hmac.compare_digest(said.encode(), expected.encode())
