"""Keys: strong ones only, each for its own algorithm, each named by itself."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from perhop.errors import KeyUnusable
from perhop.rules import base64url
from perhop.tokens.jwks import client_keys
from perhop.tokens.keys import Algorithm, Keyring, KeyState, SigningKey, is_key_id, parse_jwk
from perhop.tokens.weak_rsa import is_roca

SIGNING = [Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256]
RSA_2048 = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signing_key(algorithm: Algorithm) -> SigningKey:
    """A key of this algorithm; RSA keys are slow to make and one will do."""
    return RSA_KEYS.get(algorithm) or SigningKey.generate(algorithm)


def pkcs8(private: Any) -> bytes:
    pem: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


RSA_KEYS = {Algorithm.RS256: SigningKey.from_pem(pkcs8(RSA_2048))}


@pytest.mark.parametrize("algorithm", SIGNING)
def test_signature_holds_under_its_key_only(algorithm: Algorithm) -> None:
    """A signature holds over its message, under its key and by its algorithm."""
    key = signing_key(algorithm)
    public = key.public()
    signature = key.sign(b"message")
    assert public.is_signature(algorithm, signature, over=b"message")
    assert not public.is_signature(algorithm, signature, over=b"other")
    assert not public.is_signature(algorithm, signature[:-1], over=b"message")
    assert not public.is_signature(algorithm, signature + b"\0", over=b"message")
    for other in set(Algorithm) - {algorithm}:
        assert not public.is_signature(other, signature, over=b"message")
    stranger = SigningKey.generate(Algorithm.ED25519 if algorithm is Algorithm.ES256 else Algorithm.ES256)
    assert not stranger.public().is_signature(algorithm, signature, over=b"message")


@pytest.mark.parametrize("algorithm", SIGNING)
def test_pem_round_trip(algorithm: Algorithm) -> None:
    """A key written as PKCS#8 is read back with the same name and algorithm."""
    key = signing_key(algorithm)
    again = SigningKey.from_pem(key.as_pem().reveal().encode())
    assert (again.kid, again.algorithm) == (key.kid, algorithm)
    assert key.public().is_signature(algorithm, again.sign(b"m"), over=b"m")


@pytest.mark.parametrize("algorithm", SIGNING)
def test_published_key_is_the_verified_key(algorithm: Algorithm) -> None:
    """What a reader of the JWK gets is what we verify with ourselves: kid, algorithms and numbers."""
    public = signing_key(algorithm).public()
    jwk = public.as_jwk()
    assert parse_jwk(jwk) == public
    assert "d" not in jwk
    assert jwk["use"] == "sig"


def test_rsa_without_alg_verifies_both_paddings() -> None:
    """An RSA key verifies RS256 and PS256 by its type, and only one of them where its `alg` says so."""
    jwk = RSA_KEYS[Algorithm.RS256].public().as_jwk()
    assert "alg" not in jwk
    assert parse_jwk(jwk).algorithms == {Algorithm.RS256, Algorithm.PS256}
    assert parse_jwk(jwk | {"alg": "PS256"}).algorithms == {Algorithm.PS256}


def test_nothing_prints_a_private_key() -> None:
    """`repr` of a key, a keyring and a PEM shows no key material."""
    key = SigningKey.generate()
    shown = repr((key, key.as_pem(), Keyring(((key, KeyState.ACTIVE),))))
    assert "PRIVATE" not in shown
    assert "object at" not in shown


def test_we_do_not_sign_with_pss() -> None:
    """PS256 is verified, never made."""
    with pytest.raises(KeyUnusable):
        SigningKey.generate(Algorithm.PS256)


REFUSED_PEMS = {
    "nothing": b"",
    "text": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "another curve": pkcs8(ec.generate_private_key(ec.SECP384R1())),
    "a bitcoin curve": pkcs8(ec.generate_private_key(ec.SECP256K1())),
    "key agreement": pkcs8(x25519.X25519PrivateKey.generate()),
    "short RSA": pkcs8(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    "PKCS#1": RSA_2048.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    "encrypted": RSA_2048.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    "public": RSA_KEYS[Algorithm.RS256].public().as_public_pem(),
}


@pytest.mark.parametrize("pem", REFUSED_PEMS.values(), ids=REFUSED_PEMS.keys())
def test_unusable_pem_is_refused_with_advice(pem: bytes) -> None:
    """Another format, type, curve or length is refused, and the operator is told what to do."""
    with pytest.raises(KeyUnusable) as refusal:
        SigningKey.from_pem(pem)
    assert refusal.value.advice()


EC_JWK = SigningKey.generate().public().as_jwk()
RSA_JWK = RSA_KEYS[Algorithm.RS256].public().as_jwk()


def uint(number: int) -> str:
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8))


REFUSED_JWKS: dict[str, dict[str, Any]] = {
    "empty": {},
    "symmetric": {"kty": "oct", "k": "AAAA"},
    "private": EC_JWK | {"d": "AAAA"},
    "for encryption": EC_JWK | {"use": "enc"},
    "operations without verify": EC_JWK | {"key_ops": ["sign"]},
    "operations not a list": EC_JWK | {"key_ops": "verify"},
    "algorithm of another type": EC_JWK | {"alg": "RS256"},
    "symmetric algorithm": RSA_JWK | {"alg": "HS256"},
    "algorithm not a string": EC_JWK | {"alg": ["ES256"]},
    "algorithm null": EC_JWK | {"alg": None},
    "another curve": EC_JWK | {"crv": "P-384"},
    "curve of another type": EC_JWK | {"crv": "Ed25519"},
    "type of another curve": EC_JWK | {"kty": "OKP"},
    "no coordinate": {name: value for name, value in EC_JWK.items() if name != "y"},
    "point not on the curve": EC_JWK | {"y": EC_JWK["x"]},
    "coordinate short": EC_JWK | {"x": "AAAA"},
    "coordinate padded": EC_JWK | {"x": EC_JWK["x"] + "="},
    "coordinate long": EC_JWK | {"x": base64url.encode(b"\0" + base64url.decode(EC_JWK["x"]))},
    "coordinate a number": EC_JWK | {"x": 1},
    "kid empty": EC_JWK | {"kid": ""},
    "kid a number": EC_JWK | {"kid": 1},
    "kid null": EC_JWK | {"kid": None},
    "kid long": EC_JWK | {"kid": "x" * 129},
    "kid with a line break": EC_JWK | {"kid": "a\nb"},
    "exponent 1": RSA_JWK | {"e": uint(1)},
    "exponent even": RSA_JWK | {"e": uint(65536)},
    "exponent huge": RSA_JWK | {"e": uint(2**64 + 1)},
    "modulus short": RSA_JWK | {"n": uint(2**1023 + 1)},
    "modulus huge": RSA_JWK | {"n": uint(2**16383 + 1)},
    "modulus with a leading zero": RSA_JWK | {"n": base64url.encode(b"\0" + base64url.decode(RSA_JWK["n"]))},
    "modulus missing": {"kty": "RSA", "e": "AQAB"},
}


@pytest.mark.parametrize("jwk", REFUSED_JWKS.values(), ids=REFUSED_JWKS.keys())
def test_unusable_jwk_is_refused(jwk: dict[str, Any]) -> None:
    """Weak, private, symmetric, foreign and malformed keys are refused."""
    with pytest.raises(KeyUnusable):
        parse_jwk(jwk)


def test_jwk_without_kid_is_named_by_its_thumbprint() -> None:
    """A key without a name is named by itself."""
    unnamed = {name: value for name, value in EC_JWK.items() if name != "kid"}
    assert parse_jwk(unnamed).kid == EC_JWK["kid"]


def test_moduli_of_the_broken_generator_are_known() -> None:
    """A modulus that is a power of 65537 for every small prime is refused; a sound one is not."""
    product = 11 * 13 * 17 * 19 * 37 * 53 * 61 * 71 * 73 * 79 * 97 * 103 * 107 * 109 * 127 * 151 * 157
    weak = pow(65537, 12345, product) + product * (2**1900 | 1)
    assert is_roca(weak)
    assert not is_roca(RSA_2048.public_key().public_numbers().n)


@pytest.mark.parametrize("value", ["a", "x" * 128, "../../etc/passwd", "' OR 1=1 --", "https://evil.example/key"])
def test_any_printable_text_is_a_key_id(value: str) -> None:
    """A key id is looked up and nothing else, so any printable text may be one."""
    assert is_key_id(value)


@pytest.mark.parametrize("value", ["", "x" * 129, "a\0", "a\n", "é", ["a"], 1, None, {}])
def test_other_values_are_no_key_ids(value: object) -> None:
    """Control characters, other scripts, other types and long texts name no key."""
    assert not is_key_id(value)


def ring(*states: KeyState) -> tuple[Keyring, list[str]]:
    keys = [SigningKey.generate(Algorithm.ED25519) for _ in states]
    return Keyring(tuple(zip(keys, states, strict=True))), [key.kid for key in keys]


def test_keyring_states() -> None:
    """The active key signs; prepared, active and retired ones are published and verify; a revoked one does neither."""
    keyring, kids = ring(KeyState.PREPARED, KeyState.ACTIVE, KeyState.RETIRED, KeyState.REVOKED)
    assert keyring.active.kid == kids[1]
    assert [key.kid for key in keyring.published()] == kids[:3]
    assert set(keyring.verify_keys()) == set(kids[:3])


def test_rotation_moves_the_states() -> None:
    """With new states the next key signs and the old one still verifies."""
    keyring, (old, new) = ring(KeyState.ACTIVE, KeyState.PREPARED)
    rotated = keyring.with_states({old: KeyState.RETIRED, new: KeyState.ACTIVE})
    assert rotated.active.kid == new
    assert set(rotated.verify_keys()) == {old, new}
    revoked = rotated.with_states({old: KeyState.REVOKED})
    assert set(revoked.verify_keys()) == {new}


@pytest.mark.parametrize("states", [(), (KeyState.PREPARED,), (KeyState.ACTIVE, KeyState.ACTIVE)])
def test_exactly_one_key_is_active(states: tuple[KeyState, ...]) -> None:
    """A keyring without an active key, or with two, does not exist."""
    with pytest.raises(KeyUnusable):
        ring(*states)


def test_keyring_holds_a_key_once() -> None:
    """The same key cannot be both retired and active."""
    key = SigningKey.generate(Algorithm.ED25519)
    with pytest.raises(KeyUnusable):
        Keyring(((key, KeyState.ACTIVE), (key, KeyState.REVOKED)))


def test_client_keys_are_all_usable() -> None:
    """One unusable or twice-named key of a client refuses the whole set."""
    assert list(client_keys([EC_JWK])) == [EC_JWK["kid"]]
    for broken in ([EC_JWK, EC_JWK], [EC_JWK, {"kty": "oct", "k": "AAAA"}], [EC_JWK, EC_JWK | {"use": "enc"}]):
        with pytest.raises(KeyUnusable):
            client_keys(broken)


def test_verify_keys_compare_by_what_they_verify() -> None:
    """Two keys of one name are equal only if they are one key."""
    first, second = SigningKey.generate().public(), SigningKey.generate().public()
    assert first == parse_jwk(first.as_jwk())
    assert first != parse_jwk(second.as_jwk() | {"kid": first.kid})
