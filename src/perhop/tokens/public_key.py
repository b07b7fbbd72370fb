"""Public keys that we accept: their types, their strength, their JWK members and their thumbprint.

Spec: RFC 7518 §6
Spec: RFC 7638 §3
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, assert_never

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from joserfc import jwk

from perhop.errors import KeyUnusable
from perhop.rules import base64url
from perhop.tokens.weak_rsa import is_roca

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""Above it one verification costs more than an attacker's request should buy."""
MAX_RSA_EXPONENT_BITS = 64

KEY_ADVICE = "use P-256, Ed25519, or RSA of 2048 bits or more"

PublicKey = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey


class Algorithm(StrEnum):
    """The signatures that we accept: no symmetric one, and no `none`. Spec: RFC 7518 §3.1, RFC 9864 §2.2."""

    ES256 = "ES256"
    ED25519 = "Ed25519"
    RS256 = "RS256"
    PS256 = "PS256"


def check_public_key(public: PublicKey) -> tuple[Algorithm, ...]:
    """Refuse a weak key; the algorithms that a key of this type verifies, the one that we sign with first.

    Raises: KeyUnusable
    """
    match public:
        case EllipticCurvePublicKey():
            if not isinstance(public.curve, SECP256R1):
                raise KeyUnusable("the curve is not P-256", advice=KEY_ADVICE)
            return (Algorithm.ES256,)
        case Ed25519PublicKey():
            return (Algorithm.ED25519,)
        case RSAPublicKey():
            _check_rsa(public.public_numbers())
            return (Algorithm.RS256, Algorithm.PS256)
        case _:
            assert_never(public)


def _check_rsa(numbers: RSAPublicNumbers) -> None:
    bits = numbers.n.bit_length()
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        raise KeyUnusable(f"the RSA key has {bits} bits", advice=KEY_ADVICE)
    if numbers.e < 3 or numbers.e % 2 == 0 or numbers.e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise KeyUnusable("the RSA key's exponent is weak or too large", advice="use the exponent 65537")
    if is_roca(numbers.n):
        raise KeyUnusable("the RSA key comes from a broken generator (CVE-2017-15361)", advice="make a new key")


def parse_public_key(members: Mapping[str, Any]) -> PublicKey:
    """The public key of a JWK's `kty` and its parameters, each in its one encoding.

    Does not look at strength, `use`, `key_ops` or `alg`.

    Spec: RFC 7518 §6
    Spec: RFC 8037 §2
    Raises: KeyUnusable
    """
    try:
        match members.get("kty"), members.get("crv"):
            case "EC", "P-256":
                x, y = (int.from_bytes(_octets(members, name, length=32)) for name in ("x", "y"))
                return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
            case "OKP", "Ed25519":
                return Ed25519PublicKey.from_public_bytes(_octets(members, "x", length=32))
            case "RSA", _:
                numbers = RSAPublicNumbers(e=_integer(members, "e"), n=_integer(members, "n"))
                _check_rsa(numbers)  # before the library computes with numbers of any size
                return numbers.public_key()
            case _:
                raise KeyUnusable("the JWK is of a type or curve that we do not accept", advice=KEY_ADVICE)
    except ValueError:
        raise KeyUnusable("the JWK's numbers are not a key", advice="check that the JWK is whole") from None


def _octets(members: Mapping[str, Any], name: str, *, length: int) -> bytes:
    value = members.get(name)
    raw = base64url.decode(value) if isinstance(value, str) else b""
    if len(raw) != length:
        raise ValueError(f"`{name}` has not {length} octets")
    return raw


def _integer(members: Mapping[str, Any], name: str) -> int:
    """A Base64urlUInt: no leading zero octet. Spec: RFC 7518 §2."""
    value = members.get(name)
    raw = base64url.decode(value) if isinstance(value, str) else b""
    if raw[:1] in (b"", b"\0"):
        raise ValueError(f"`{name}` is missing or has a leading zero octet")
    return int.from_bytes(raw)


def render_public_key(public: PublicKey) -> dict[str, str]:
    """Exactly the JWK members that the thumbprint is taken over. Spec: RFC 7638 §3.2."""
    match public:
        case EllipticCurvePublicKey():
            point = public.public_numbers()
            x, y = (base64url.encode(number.to_bytes(32)) for number in (point.x, point.y))
            return {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        case Ed25519PublicKey():
            return {"crv": "Ed25519", "kty": "OKP", "x": base64url.encode(public.public_bytes_raw())}
        case RSAPublicKey():
            rsa = public.public_numbers()
            n, e = (base64url.encode(number.to_bytes((number.bit_length() + 7) // 8)) for number in (rsa.n, rsa.e))
            return {"e": e, "kty": "RSA", "n": n}
        case _:
            assert_never(public)


def thumbprint(public: PublicKey) -> str:
    """The key's name, computed from the key: base64url SHA-256 of its required members.

    Spec: RFC 7638 §3
    """
    return jwk.thumbprint(render_public_key(public))
