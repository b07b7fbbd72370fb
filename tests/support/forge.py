"""Forged tokens: any header over any claims, signed by any key in any way, also in ways that no library offers.

`sign` makes well-formed JWS with odd contents, `assemble` takes the parts as bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from perhop.core.resource import ResourceUri
from perhop.rules import base64url
from perhop.rules.resource_uri import parse_resource_uri
from perhop.tokens.keys import SigningKey

ISSUER: Final = "https://auth.example.com"
RESOURCE: Final[ResourceUri] = parse_resource_uri("https://mcp.example.com/mcp")
NOW: Final = 1_800_000_000
ABSENT: Final = object()
"""As a value of a claim or header parameter: leave it out."""


def good_claims(*, issuer: str = ISSUER, audience: str = RESOURCE, now: int = NOW, **changes: Any) -> dict[str, Any]:
    """The claims of a token that every check accepts, with these changed, added or (ABSENT) left out."""
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": "user:ann",
        "client_id": "trip-planner",
        "aud": audience,
        "iat": now,
        "exp": now + 300,
        "jti": "token-1",
        "scope": "calendar:read",
        "txn": "txn-1",
        "hop": 1,
    }
    return _without_absent(claims | changes)


def good_header(key: SigningKey, **changes: Any) -> dict[str, Any]:
    """The header of a token that every check accepts, with these changed, added or (ABSENT) left out."""
    return _without_absent({"alg": key.algorithm.value, "kid": key.kid, "typ": "at+jwt"} | changes)


def _without_absent(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ABSENT}


def as_json(value: Any) -> bytes:
    """JSON text that may hold what JSON does not: NaN and lone surrogates are written."""
    return json.dumps(value, separators=(",", ":")).encode()


def assemble(header: bytes, payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    """A compact JWS of these very bytes, signed by this function."""
    signed = f"{base64url.encode(header)}.{base64url.encode(payload)}"
    return f"{signed}.{base64url.encode(sign(signed.encode()))}"


def sign(claims: Mapping[str, Any] | bytes, key: SigningKey, **header: Any) -> str:
    """A token over these claims, truly signed by the key; `header` changes, adds or leaves out parameters."""
    payload = claims if isinstance(claims, bytes) else as_json(claims)
    return assemble(as_json(good_header(key, **header)), payload, key.sign)


def unsigned(claims: Mapping[str, Any], key: SigningKey, *, alg: Any = "none") -> str:
    """A token with an empty signature, for the key that it pretends to be from."""
    return assemble(as_json(good_header(key, alg=alg)), as_json(claims), lambda _: b"")


def hmac_signed(claims: Mapping[str, Any], key: SigningKey, secret: bytes, *, alg: str = "HS256") -> str:
    """A token under HMAC-SHA-256 with this secret, such as the text of the key's public half."""
    header = as_json(good_header(key, alg=alg))
    return assemble(header, as_json(claims), lambda signed: hmac.digest(secret, signed, hashlib.sha256))


def public_key_texts(key: SigningKey) -> dict[str, bytes]:
    """Every form in which an attacker might feed the public key to an HMAC."""
    public = key.public()
    pem = public.as_public_pem()
    return {
        "pem": pem,
        "pem-stripped": pem.strip(),
        "der": base64url.decode(_pem_body(pem)),
        "jwk": as_json(public.as_jwk()),
    }


def _pem_body(pem: bytes) -> str:
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    return body.decode().rstrip("=").replace("+", "-").replace("/", "_")


def replace_signature(token: str, signature: bytes) -> str:
    """The same header and claims under another signature."""
    return f"{token.rpartition('.')[0]}.{base64url.encode(signature)}"


def signature_of(token: str) -> bytes:
    """The raw signature of a compact JWS."""
    return base64url.decode(token.rpartition(".")[2])
