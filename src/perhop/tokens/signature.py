"""Signing and checking compact JWS: one key by its name, one algorithm by the key.

Spec: RFC 7515 §5
Spec: RFC 8725 §3.1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from json.encoder import c_make_encoder  # type: ignore[attr-defined]
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from perhop.errors import TokenKeyUnknown, TokenSignatureInvalid
from perhop.rules import base64url
from perhop.tokens.keys import SigningKey, VerifyKey
from perhop.tokens.parse import CompactJws
from perhop.tokens.public_key import Algorithm


def sign_compact(payload: Mapping[str, Any], *, media_type: str, key: SigningKey) -> str:
    """A compact JWS of this type over a JSON object.

    Spec: RFC 7515 §7.1
    """
    signed = f"{_header(key.algorithm, key.kid, media_type)}.{base64url.encode(_render(payload).encode('ascii'))}"
    return f"{signed}.{base64url.encode(key.sign(signed.encode('ascii')))}"


_encode: Callable[[Any, int], Iterable[str]] = c_make_encoder(None, None, _quoted, None, ":", ",", False, False, False)
"""What `json.JSONEncoder` makes anew for every text: ASCII, no white space, no number that JSON has not."""


def _render(members: Mapping[str, Any]) -> str:
    return "".join(_encode(members, 0))


@lru_cache(maxsize=64)
def _header(algorithm: Algorithm, kid: str, media_type: str) -> str:
    """The same for every token of one type that one key signs."""
    header = {"alg": algorithm.value, "kid": kid, "typ": media_type}
    return base64url.encode(_render(header).encode("ascii"))


def parse_algorithm(jws: CompactJws) -> Algorithm:
    """The algorithm that the header names, if it is one of ours: by exact name, so not `none` and not `es256`.

    Spec: RFC 8725 §3.1
    Raises: TokenSignatureInvalid
    """
    try:
        return Algorithm(jws.algorithm)
    except ValueError:
        raise TokenSignatureInvalid("the algorithm is not one that we accept") from None


def find_key(jws: CompactJws, keys: Mapping[str, VerifyKey]) -> VerifyKey:
    """The key that the header names, among these keys only.

    Spec: RFC 7515 §4.1.4
    Raises: TokenKeyUnknown
    """
    key = keys.get(jws.key_id) if jws.key_id is not None else None
    if key is None:
        raise TokenKeyUnknown("the header names no key that we hold")
    return key


def check_signature(jws: CompactJws, algorithm: Algorithm, keys: Mapping[str, VerifyKey]) -> None:
    """Refuse a signature that does not hold under the key that the header names, among these keys only.

    Spec: RFC 7515 §5.2
    Raises: TokenKeyUnknown, TokenSignatureInvalid
    """
    check_signature_under(jws, algorithm, find_key(jws, keys))


def check_signature_under(jws: CompactJws, algorithm: Algorithm, key: VerifyKey) -> None:
    """Refuse a signature that does not hold under this key.

    Spec: RFC 7515 §5.2
    Raises: TokenSignatureInvalid
    """
    if algorithm not in key.algorithms:
        raise TokenSignatureInvalid("the key is not for this algorithm")
    if not key.is_signature(algorithm, jws.signature, over=jws.signed):
        raise TokenSignatureInvalid("the signature does not hold")
