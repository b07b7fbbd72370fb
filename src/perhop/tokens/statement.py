"""Signed statements of an issuer that are no access tokens: the revocation feed.

Their `typ` tells them apart, so that neither can stand in for the other.

Spec: RFC 8725 §3.11
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.errors import TokenTypeWrong
from perhop.tokens.keys import SigningKey, VerifyKey
from perhop.tokens.parse import parse_compact
from perhop.tokens.signature import check_signature, parse_algorithm, sign_compact

MAX_STATEMENT_BYTES = 1024 * 1024


def sign_statement(payload: Mapping[str, Any], *, typ: str, key: SigningKey) -> str:
    """A compact JWS of this type."""
    return sign_compact(payload, media_type=typ, key=key)


def read_statement(raw: str, *, typ: str, keys: Mapping[str, VerifyKey]) -> dict[str, Any]:
    """The payload of a statement of exactly this type, whose signature holds under one of these keys.

    Does not look at any claim: issuer, times and content are the reader's matter.

    Spec: RFC 8725 §3.11
    Raises: TokenMalformed, TokenTypeWrong, TokenSignatureInvalid, TokenKeyUnknown
    """
    jws = parse_compact(raw, max_bytes=MAX_STATEMENT_BYTES)
    if jws.media_type != typ:
        raise TokenTypeWrong(f"`typ` is not `{typ}`")
    check_signature(jws, parse_algorithm(jws), keys)
    return dict(jws.payload)
