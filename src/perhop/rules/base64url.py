"""Base64url as JWS has it: no padding, and one text for one byte string.

Spec: RFC 7515 §2
"""

from __future__ import annotations

import binascii
import re

_TO_URL = bytes.maketrans(b"+/", b"-_")
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_PADDING = ("", None, "==", "=")
"""By how many characters are over four; one alone holds no octet."""
# What a last character may be whose spare bits are zero: four of them, or two.
_LAST = ("", "", "AQgw", "AEIMQUYcgkosw048")


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
    over = len(text) % 4
    padding = _PADDING[over]
    if padding is None:
        raise ValueError("not base64url")
    if over and text[-1] not in _LAST[over]:
        raise ValueError("not canonical base64url")
    return binascii.a2b_base64((text + padding).encode("ascii").translate(_TO_STANDARD))
