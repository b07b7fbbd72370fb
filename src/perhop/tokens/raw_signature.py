"""Signatures over octets, in the form that JWS has them, by the cryptographic library itself.

Nothing of a token is read here. A test holds every answer against that of a JOSE library.

Spec: RFC 7518 §3
Spec: RFC 8037 §3.1
"""

from __future__ import annotations

from typing import assert_never

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from perhop.tokens.public_key import Algorithm, PublicKey

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey

_SHA256 = SHA256()
_ECDSA = ECDSA(_SHA256)
_NUMBER_BYTES = 32
_FIXED_BYTES = 2 * _NUMBER_BYTES  # of ES256 and Ed25519
_PADDINGS: dict[Algorithm, AsymmetricPadding] = {
    Algorithm.RS256: PKCS1v15(),
    Algorithm.PS256: PSS(mgf=MGF1(_SHA256), salt_length=_SHA256.digest_size),
}


def is_signed(algorithm: Algorithm, signature: bytes, *, over: bytes, key: PublicKey) -> bool:
    """True if the signature holds. A key of another type than the algorithm's makes none.

    Of ES256 both numbers have 32 octets, and the algorithm's own check keeps them in their range.

    Spec: RFC 7518 §3.3
    Spec: RFC 7518 §3.4
    Spec: RFC 7518 §3.5
    """
    try:
        match key:
            case EllipticCurvePublicKey():
                if algorithm is not Algorithm.ES256 or len(signature) != _FIXED_BYTES:
                    return False
                r, s = int.from_bytes(signature[:_NUMBER_BYTES]), int.from_bytes(signature[_NUMBER_BYTES:])
                key.verify(encode_dss_signature(r, s), over, _ECDSA)
            case Ed25519PublicKey():
                if algorithm is not Algorithm.ED25519 or len(signature) != _FIXED_BYTES:
                    return False
                key.verify(signature, over)
            case RSAPublicKey():
                if algorithm not in _PADDINGS or len(signature) != (key.key_size + 7) // 8:
                    return False
                key.verify(signature, over, _PADDINGS[algorithm], _SHA256)
            case _:
                assert_never(key)
    except InvalidSignature:
        return False
    return True


def sign_octets(message: bytes, *, key: PrivateKey) -> bytes:
    """The signature of this key over the message: ES256, Ed25519 or RS256.

    Spec: RFC 7515 §5.1
    """
    match key:
        case EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(message, _ECDSA))
            return r.to_bytes(_NUMBER_BYTES) + s.to_bytes(_NUMBER_BYTES)
        case Ed25519PrivateKey():
            return key.sign(message)
        case RSAPrivateKey():
            return key.sign(message, _PADDINGS[Algorithm.RS256], _SHA256)
        case _:
            assert_never(key)
