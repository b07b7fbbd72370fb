"""DPoP: what a proof of possession must say of the request that it comes with. The signature is `tokens.proof`'s.

What a proof is held against is configured: `Host` and what proxies say of it are never looked at.

Spec: RFC 9449 §4
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from perhop.core.call import Headers
from perhop.errors import ProofRefused

PROOF_TYPE = "dpop+jwt"
PROOF_ALGORITHMS = ("ES256", "Ed25519", "RS256", "PS256")
"""What metadata and challenges name: the signatures that are taken of tokens, too. Spec: RFC 9449 §5.1."""
MAX_PROOF_BYTES = 8 * 1024
PROOF_SECONDS = 60
"""How far `iat` may lie from our clock, on either side."""

_MAX_URI_LENGTH = 2048
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
"""Base64url of 32 octets in its one form: the last character has two spare bits."""
_URI = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[^/?#@:\[\]]+)(?::([0-9]*))?(/[^?#]*)?(?:\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.ASCII
)
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def single_proof(headers: Headers) -> str:
    """The one proof of a request, as it came, and not larger than we read.

    Spec: RFC 9449 §4.3
    Raises: ProofRefused
    """
    proofs = [value for name, value in headers if name.lower() == "dpop"]
    if len(proofs) != 1:
        raise ProofRefused(f"{len(proofs) or 'no'} DPoP header{'s' if len(proofs) > 1 else ''}")
    if len(proofs[0]) > MAX_PROOF_BYTES:
        raise ProofRefused(f"the proof is longer than {MAX_PROOF_BYTES} bytes")
    return proofs[0]


def is_thumbprint(value: object) -> bool:
    """True for the SHA-256 thumbprint of a key, in its one form. Spec: RFC 7638 §3.1."""
    return isinstance(value, str) and _THUMBPRINT.fullmatch(value) is not None


def check_method(claims: Mapping[str, Any], method: str) -> None:
    """Refuse a proof for another HTTP method; the case counts.

    Spec: RFC 9449 §4.3
    Raises: ProofRefused
    """
    if claims.get("htm") != method:
        raise ProofRefused("`htm` is not the method of this request")


def check_uri(claims: Mapping[str, Any], uri: str) -> None:
    """Refuse a proof for another URI than this configured one; its query and fragment are passed over.

    Spec: RFC 9449 §4.3
    Raises: ProofRefused
    """
    said = claims.get("htu")
    if not isinstance(said, str) or normalise_uri(said) != normalise_uri(uri):
        raise ProofRefused("`htu` is not the URI of this request")


def check_time(issued_at: int, now: int) -> None:
    """Refuse a proof that is too old, or that was made ahead. Times are seconds since the epoch.

    Spec: RFC 9449 §11.1
    Raises: ProofRefused
    """
    if not -PROOF_SECONDS <= issued_at - now <= PROOF_SECONDS:
        raise ProofRefused(f"`iat` is {abs(issued_at - now)} s {'ahead' if issued_at > now else 'ago'}")


def check_token_hash(claims: Mapping[str, Any], token: str) -> None:
    """Refuse a proof that was not made for this access token.

    Spec: RFC 9449 §4.3
    Raises: ProofRefused
    """
    said = claims.get("ath")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), token_hash(token).encode()):
        raise ProofRefused("`ath` is not the digest of this token")


def token_hash(token: str) -> str:
    """The `ath` of a proof for this token. Spec: RFC 9449 §4.2."""
    digest = hashlib.sha256(token.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@lru_cache(maxsize=1024)
def normalise_uri(text: str) -> str | None:
    """Scheme, authority and path of an http or https URI after syntax- and scheme-based normalisation.

    None for a text that is no such URI: it equals nothing that is configured.

    Spec: RFC 3986 §6.2.2
    Spec: RFC 3986 §6.2.3
    """
    if len(text) > _MAX_URI_LENGTH or _VISIBLE_ASCII.fullmatch(text) is None:
        return None
    shape = _URI.fullmatch(text)
    if shape is None:
        return None
    scheme, host, port = shape[1].lower(), shape[2].lower(), shape[3]
    authority = host if port in (None, "", _DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    path = _ESCAPE.sub(_one_escape, shape[4] or "/")
    return f"{scheme}://{authority}{_without_dots(path) or '/'}"


def _one_escape(match: re.Match[str]) -> str:
    """What need not be escaped is not, and the rest is in capitals. Spec: RFC 3986 §6.2.2.1, RFC 3986 §6.2.2.2."""
    char = chr(int(match[1], 16))
    return char if char in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    """The path without dot segments. Spec: RFC 3986 §5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "".join(f"/{segment}" for segment in kept)
