"""DPoP proofs, as a client makes them: one for each request, under a key that only it has.

Spec: RFC 9449 §4.2
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from perhop.core.secret import Secret
from perhop.rules import base64url
from perhop.tokens.keys import SigningKey

PROOF_TYPE = "dpop+jwt"
_NOT_IN_A_PROOF = frozenset({"use", "kid", "alg"})


def sign_proof(
    *, key: SigningKey, method: str, url: str, jti: str, now: int, token: Secret | None = None, nonce: str | None = None
) -> str:
    """A proof for one request. `url` is without query and fragment; `token` is what the request presents.

    Spec: RFC 9449 §4.2
    """
    claims: dict[str, Any] = {"jti": jti, "htm": method, "htu": url, "iat": now}
    if token is not None:
        claims["ath"] = base64url.encode(hashlib.sha256(token.reveal().encode("ascii")).digest())
    if nonce is not None:
        claims["nonce"] = nonce
    public = {name: value for name, value in key.public().as_jwk().items() if name not in _NOT_IN_A_PROOF}
    header = {"typ": PROOF_TYPE, "alg": key.algorithm.value, "jwk": public}
    signed = ".".join(base64url.encode(_text(part)) for part in (header, claims))
    return f"{signed}.{base64url.encode(key.sign(signed.encode('ascii')))}"


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
