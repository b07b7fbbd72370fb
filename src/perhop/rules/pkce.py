"""PKCE: a code is good only for the one who asked for it. S256 only.

Spec: RFC 7636 §4
Spec: RFC 9700 §2.1.1
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from perhop.errors import AuthorizeRequestMalformed, CodeInvalid

CHALLENGE_METHOD = "S256"

# code-verifier = 43*128unreserved
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
# BASE64URL of 32 octets: the last character carries four bits, so that two of its bits are zero
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


def check_code_challenge(challenge: str | None, method: str | None) -> None:
    """Refuse an authorization request without an S256 challenge; `plain`, also by default, is none.

    Spec: RFC 7636 §4.3
    Raises: AuthorizeRequestMalformed
    """
    if method != CHALLENGE_METHOD:
        raise AuthorizeRequestMalformed("`code_challenge_method` is not `S256`")
    if challenge is None or _CHALLENGE.fullmatch(challenge) is None:
        raise AuthorizeRequestMalformed("`code_challenge` is missing or not the base64url of a SHA-256")


def check_code_verifier(verifier: str | None, challenge: str) -> None:
    """Refuse a code whose presenter does not know what the challenge was made from.

    Spec: RFC 7636 §4.6
    Raises: CodeInvalid
    """
    if verifier is None or _VERIFIER.fullmatch(verifier) is None:
        raise CodeInvalid("`code_verifier` is missing or malformed")
    if not hmac.compare_digest(code_challenge(verifier), challenge):
        raise CodeInvalid("`code_verifier` does not match the challenge")


def code_challenge(verifier: str) -> str:
    """The S256 challenge of a verifier. Spec: RFC 7636 §4.2."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
