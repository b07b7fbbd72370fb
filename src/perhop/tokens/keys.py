"""Keys: what signs our tokens, what verifies anybody's, and the states that a signing key passes through.

A key does one thing: its type and, where its publisher says so, its `alg` decide which signatures count. Where keys
come from (files, the network) is left to others.

Spec: RFC 7517 §4
Spec: RFC 8725 §3.1
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, assert_never

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from perhop.core.secret import Secret
from perhop.errors import KeyUnusable
from perhop.tokens.public_key import (
    KEY_ADVICE,
    PublicKey,
    check_public_key,
    parse_public_key,
    render_public_key,
    thumbprint,
)
from perhop.tokens.public_key import Algorithm as Algorithm
from perhop.tokens.raw_signature import PrivateKey, is_signed, sign_octets

MAX_KEY_ID_LENGTH = 128

_KEY_ID = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY_ID_LENGTH}}}")
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def is_key_id(value: object) -> bool:
    """True for a text that may name a key: printable ASCII, 1 to 128 characters."""
    return isinstance(value, str) and _KEY_ID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key and the algorithms that it verifies: one, or two for RSA without `alg`."""

    kid: str
    algorithms: frozenset[Algorithm]
    _public: PublicKey = field(repr=False)

    @classmethod
    def of(cls, public: PublicKey, *, kid: str | None = None, only: str | None = None) -> VerifyKey:
        """A key under this name, else its thumbprint, for this algorithm, else all that its type verifies.

        Raises: KeyUnusable
        """
        algorithms = frozenset(each for each in check_public_key(public) if only is None or each.value == only)
        if not algorithms:
            raise KeyUnusable("the key's `alg` is not one that we accept for its type", advice=KEY_ADVICE)
        return cls(thumbprint(public) if kid is None else kid, algorithms, public)

    def is_signature(self, algorithm: Algorithm, signature: bytes, *, over: bytes) -> bool:
        """True if the signature over these bytes holds under this key and this algorithm."""
        return algorithm in self.algorithms and is_signed(algorithm, signature, over=over, key=self._public)

    def as_jwk(self) -> dict[str, Any]:
        """The public JWK; `alg` is left out of a key that verifies two. Spec: RFC 7517 §4."""
        members: dict[str, Any] = render_public_key(self._public) | {"use": "sig", "kid": self.kid}
        if len(self.algorithms) == 1:
            members["alg"] = next(iter(self.algorithms)).value
        return members

    def as_public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM."""
        return self._public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def parse_jwk(jwk: Mapping[str, Any]) -> VerifyKey:
    """Take one public key from its JWK; without `kid` its thumbprint names it.

    Spec: RFC 7517 §4
    Raises: KeyUnusable
    """
    if _PRIVATE_MEMBERS & jwk.keys():
        raise KeyUnusable("the JWK holds a private or symmetric key", advice="publish the public half only")
    if jwk.get("use", "sig") != "sig":
        raise KeyUnusable("the JWK is not for signatures (`use`)", advice="use a key with `use: sig`")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeyUnusable("the JWK is not for verifying (`key_ops`)", advice="use a key with `key_ops: [verify]`")
    kid, only = jwk.get("kid"), jwk.get("alg")
    if "kid" in jwk and not is_key_id(kid):
        raise KeyUnusable("the JWK's `kid` is not 1 to 128 printable ASCII characters", advice="rename the key")
    if "alg" in jwk and not isinstance(only, str):
        raise KeyUnusable("the JWK's `alg` is not a string", advice=KEY_ADVICE)
    return VerifyKey.of(parse_public_key(jwk), kid=kid, only=only)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; `kid` is the RFC 7638 thumbprint of its public half."""

    kid: str
    algorithm: Algorithm
    _private: PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls, algorithm: Algorithm = Algorithm.ES256) -> SigningKey:
        """A fresh key; RSA keys have 3072 bits.

        Raises: KeyUnusable
        """
        match algorithm:
            case Algorithm.ES256:
                return cls._of(ec.generate_private_key(ec.SECP256R1()))
            case Algorithm.ED25519:
                return cls._of(Ed25519PrivateKey.generate())
            case Algorithm.RS256:
                return cls._of(rsa.generate_private_key(public_exponent=65537, key_size=3072))
            case Algorithm.PS256:
                raise KeyUnusable("we do not sign with PS256", advice="choose ES256, Ed25519 or RS256")
            case _:
                assert_never(algorithm)

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Take a key from PKCS#8 PEM: P-256, Ed25519, or RSA of 2048 bits or more.

        Does not look at the mode of a file.

        Spec: RFC 5958 §2
        Raises: KeyUnusable
        """
        if b"-----BEGIN PRIVATE KEY-----" not in pem:
            raise KeyUnusable(
                "the key is not an unencrypted PKCS#8 PEM (`BEGIN PRIVATE KEY`)",
                advice="convert it with `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW`",
            )
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyUnusable("the key cannot be read", advice="check that the PEM file is whole") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey):
            raise KeyUnusable("the key is of a type that we do not sign with", advice=KEY_ADVICE)
        return cls._of(private)

    @classmethod
    def _of(cls, private: PrivateKey) -> SigningKey:
        public = private.public_key()
        algorithm = check_public_key(public)[0]
        return cls(thumbprint(public), algorithm, private)

    def as_pem(self) -> Secret:
        """The private key as PKCS#8 PEM, for a file of mode 0600."""
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Secret(pem.decode("ascii"))

    def sign(self, message: bytes) -> bytes:
        """The raw JWS signature over these bytes. Spec: RFC 7515 §5.1."""
        return sign_octets(message, key=self._private)

    def public(self) -> VerifyKey:
        """The public half, exactly as a reader of our JWKS gets it."""
        return VerifyKey.of(self._private.public_key())


class KeyState(StrEnum):
    """Where a signing key stands: published first, then used, then only verified, then refused."""

    PREPARED = "prepared"
    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Keyring:
    """The signing keys of one issuer with their states; exactly one is active."""

    entries: tuple[tuple[SigningKey, KeyState], ...]

    def __post_init__(self) -> None:
        if len({key.kid for key, _ in self.entries}) != len(self.entries):
            raise KeyUnusable("a signing key is there twice", advice="remove one of the two files")
        if sum(state is KeyState.ACTIVE for _, state in self.entries) != 1:
            raise KeyUnusable("not exactly one signing key is active", advice="run `perhop key list`")

    @property
    def active(self) -> SigningKey:
        """The key that signs."""
        return next(key for key, state in self.entries if state is KeyState.ACTIVE)

    @cached_property
    def _unrevoked(self) -> Mapping[str, VerifyKey]:
        return {key.kid: key.public() for key, state in self.entries if state is not KeyState.REVOKED}

    def verify_keys(self) -> Mapping[str, VerifyKey]:
        """`kid` -> key, of every key whose signatures count; exactly these keys stand in the JWKS.

        Prepared keys are among them, so that verifiers know a key before it signs; revoked ones never.
        """
        return self._unrevoked

    def published(self) -> tuple[VerifyKey, ...]:
        """What the JWKS shows."""
        return tuple(self._unrevoked.values())

    def with_states(self, states: Mapping[str, KeyState]) -> Keyring:
        """The same keys with other states, where this names one.

        Raises: KeyUnusable
        """
        return Keyring(tuple((key, states.get(key.kid, state)) for key, state in self.entries))


def keys_by_id(keys: Iterable[VerifyKey]) -> dict[str, VerifyKey]:
    """`kid` -> key.

    Raises: KeyUnusable
    """
    found: dict[str, VerifyKey] = {}
    for key in keys:
        if key.kid in found:
            raise KeyUnusable(f"two keys share the `kid` `{key.kid}`", advice="rename one of the two")
        found[key.kid] = key
    return found
