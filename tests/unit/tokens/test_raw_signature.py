"""Signatures by the cryptographic library itself, held against a JOSE library: the two never differ."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from perhop.errors import KeyUnusable
from perhop.tokens.keys import Algorithm, SigningKey, VerifyKey
from perhop.tokens.raw_signature import is_signed

JOSE = JWSRegistry(algorithms=[each.value for each in Algorithm])
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256: how many numbers there are to choose from. SP 800-186 §3.2.1.3."""
MESSAGE = b"header.payload"
PRIVATE: dict[Algorithm, Any] = {
    Algorithm.ES256: ec.generate_private_key(ec.SECP256R1()),
    Algorithm.ED25519: Ed25519PrivateKey.generate(),
    Algorithm.RS256: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
PRIVATE[Algorithm.PS256] = PRIVATE[Algorithm.RS256]
IMPORTS: dict[Algorithm, Any] = {
    Algorithm.ES256: ECKey,
    Algorithm.ED25519: OKPKey,
    Algorithm.RS256: RSAKey,
    Algorithm.PS256: RSAKey,
}
JOSE_KEYS = {algorithm: IMPORTS[algorithm].import_key(private) for algorithm, private in PRIVATE.items()}
LENGTHS = {Algorithm.ES256: 64, Algorithm.ED25519: 64, Algorithm.RS256: 256, Algorithm.PS256: 256}
SIGNATURES = {each: JOSE.get_alg(each.value).sign(MESSAGE, JOSE_KEYS[each]) for each in Algorithm}
ALL = pytest.mark.parametrize("algorithm", Algorithm, ids=[each.value for each in Algorithm])


def ours(algorithm: Algorithm, signature: bytes, *, over: bytes = MESSAGE) -> bool:
    return is_signed(algorithm, signature, over=over, key=PRIVATE[algorithm].public_key())


def theirs(algorithm: Algorithm, signature: bytes, *, over: bytes = MESSAGE) -> bool:
    """The JOSE library's word, which does not look at the length of an RSA signature."""
    try:
        holds = JOSE.get_alg(algorithm.value).verify(over, signature, JOSE_KEYS[algorithm])
    except ValueError:
        return False
    return holds and len(signature) == LENGTHS[algorithm]


def agreed(algorithm: Algorithm, signature: bytes, *, over: bytes = MESSAGE) -> bool:
    """What both say."""
    mine, other = ours(algorithm, signature, over=over), theirs(algorithm, signature, over=over)
    assert mine is other, (algorithm, signature.hex(), mine, other)
    return mine


def two(r: int, s: int) -> bytes:
    return r.to_bytes(32) + s.to_bytes(32)


@ALL
def test_a_good_signature_holds_for_both(algorithm: Algorithm) -> None:
    """What the JOSE library signs holds here, over its message only."""
    assert agreed(algorithm, SIGNATURES[algorithm])
    assert not agreed(algorithm, SIGNATURES[algorithm], over=MESSAGE + b"x")
    assert not agreed(algorithm, SIGNATURES[algorithm], over=b"")


@pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256])
def test_what_is_signed_here_holds_for_both(algorithm: Algorithm) -> None:
    """A signature of our own has the one form that JWS gives it."""
    pem = PRIVATE[algorithm].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for number in range(20):
        message = MESSAGE + bytes([number])
        signature = SigningKey.from_pem(pem).sign(message)
        assert len(signature) == LENGTHS[algorithm]
        assert agreed(algorithm, signature, over=message)


@ALL
def test_wrong_lengths_hold_for_nobody(algorithm: Algorithm) -> None:
    """Cut, padded, doubled or empty: no signature."""
    good = SIGNATURES[algorithm]
    for signature in (b"", good[:-1], good[1:], good + b"\0", b"\0" + good, good * 2, good[: len(good) // 2], b"\0"):
        assert not agreed(algorithm, signature)


@ALL
def test_every_bit_counts(algorithm: Algorithm) -> None:
    """One bit more or less, anywhere: no signature."""
    good = SIGNATURES[algorithm]
    for at in range(0, len(good), 5):
        assert not agreed(algorithm, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])


def test_numbers_out_of_range_hold_for_nobody() -> None:
    """Zero, the order of the curve and what lies beyond it are no halves of an ES256 signature (CVE-2022-21449)."""
    good = SIGNATURES[Algorithm.ES256]
    r, s = int.from_bytes(good[:32]), int.from_bytes(good[32:])
    odd = (0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1)
    for number in odd:
        assert not agreed(Algorithm.ES256, two(number, s))
        assert not agreed(Algorithm.ES256, two(r, number))
        for other in odd:
            assert not agreed(Algorithm.ES256, two(number, other))
    assert not agreed(Algorithm.ES256, two(s, r))


def test_the_other_of_two_signatures_is_judged_alike() -> None:
    """For every r there are two s; ECDSA takes both, and so a token that was changed so is another text."""
    good = SIGNATURES[Algorithm.ES256]
    mirrored = good[:32] + (ORDER - int.from_bytes(good[32:])).to_bytes(32)
    assert agreed(Algorithm.ES256, mirrored)


def test_a_signature_in_another_encoding_holds_for_nobody() -> None:
    """ASN.1, as X.509 has it, is not what JWS has."""
    der = PRIVATE[Algorithm.ES256].sign(MESSAGE, ec.ECDSA(SHA256()))
    assert not agreed(Algorithm.ES256, der)


def test_the_other_padding_and_the_other_algorithm_hold_for_nobody() -> None:
    """RS256 and PS256 share a key and no signature; a key of another type verifies nothing."""
    assert not agreed(Algorithm.RS256, SIGNATURES[Algorithm.PS256])
    assert not agreed(Algorithm.PS256, SIGNATURES[Algorithm.RS256])
    for algorithm, signature in SIGNATURES.items():
        for other, private in PRIVATE.items():
            holds = is_signed(algorithm, signature, over=MESSAGE, key=private.public_key())
            assert holds is (private is PRIVATE[algorithm]), (algorithm, other)


def test_another_curve_of_the_same_length_is_no_key() -> None:
    """secp256k1 has numbers of 32 octets, too: such a key makes no verifying key at all."""
    other = ec.generate_private_key(ec.SECP256K1())
    with pytest.raises(KeyUnusable):
        VerifyKey.of(other.public_key())


@pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.ED25519], ids=["ES256", "Ed25519"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_comes_both_say_the_same(algorithm: Algorithm, data: st.DataObject) -> None:
    """For random octets, and for good signatures with random octets in them, the answers are alike."""
    good = SIGNATURES[algorithm]
    at = data.draw(st.integers(0, len(good)))
    middle = data.draw(st.binary(max_size=8))
    agreed(algorithm, good[:at] + middle + good[at + len(middle) :])
    agreed(algorithm, data.draw(st.binary(max_size=80)))
