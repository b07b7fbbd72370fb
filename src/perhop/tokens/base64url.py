"""Base64url as JWS has it: no padding, and one text for one byte string.

Spec: RFC 7515 §2
"""

from __future__ import annotations

import base64
import binascii
import re

_TO_URL = bytes.maketrans(b"+/", b"-_")
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def encode(raw: bytes) -> str:
    """Base64url without padding."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a canonical base64url text.

    Refuses padding, other alphabets, whitespace and spare bits that are not zero: a token has one byte form, or
    deny lists and caches see two tokens where there is one.

    Spec: RFC 4648 §3.5
    Raises: ValueError
    """
    if _ALPHABET.fullmatch(text) is None:
        raise ValueError("not base64url")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
    if encode(raw) != text:
        raise ValueError("not canonical base64url")
    return raw
