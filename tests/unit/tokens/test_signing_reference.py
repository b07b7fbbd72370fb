"""What we sign by ourselves is what a library of others signs and reads."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from perhop.rules import base64url
from perhop.tokens.keys import Algorithm, SigningKey
from perhop.tokens.signature import sign_compact

_THEIRS = {Algorithm.ES256: ECKey, Algorithm.ED25519: OKPKey, Algorithm.RS256: RSAKey}
_WITHOUT_CHANCE = (Algorithm.ED25519, Algorithm.RS256)


@cache
def _keys(algorithm: Algorithm) -> tuple[SigningKey, Any]:
    ours = SigningKey.generate(algorithm)
    return ours, _THEIRS[algorithm].import_key(ours.as_pem().reveal())


@pytest.mark.parametrize("algorithm", _THEIRS)
def test_a_library_reads_what_we_sign(algorithm: Algorithm) -> None:
    """Header, claims and signature are what joserfc reads; where chance has no part in a signature, what it writes."""
    key, theirs = _keys(algorithm)
    payload = {"iss": "https://a.example", "n": 2**63 - 1, "é\u2028": ['"\\', None, True, {"x": [1.5, []]}]}
    registry = jws.JWSRegistry(algorithms=[algorithm.value])
    for media_type in ("at+jwt", "dpop+jwt", "at+jwt"):
        header = {"alg": algorithm.value, "kid": key.kid, "typ": media_type}
        signed = sign_compact(payload, media_type=media_type, key=key)
        read = jws.deserialize_compact(signed, theirs, registry=registry)
        assert read.headers() == header
        assert json.loads(read.payload or b"") == payload
        text = json.dumps(payload, separators=(",", ":")).encode()
        written = jws.serialize_compact(header, text, theirs, registry=registry)
        compared = len(written) if algorithm in _WITHOUT_CHANCE else written.rindex(".")
        assert signed[:compared] == written[:compared]


def test_short_numbers_of_a_signature_keep_their_place() -> None:
    """An ES256 signature has 64 bytes, also where one of its numbers is small, and joserfc accepts it."""
    key, theirs = _keys(Algorithm.ES256)
    registry = jws.JWSRegistry(algorithms=["ES256"])
    was_short: set[int] = set()
    while was_short != {0, 32}:  # one in 256 of each begins with a zero octet
        signed = sign_compact({}, media_type="at+jwt", key=key)
        signature = base64url.decode(signed.rpartition(".")[2])
        assert len(signature) == 64
        short = {at for at in (0, 32) if signature[at] == 0}
        if short - was_short:
            jws.deserialize_compact(signed, theirs, registry=registry)
        was_short |= short


@given(st.binary(max_size=200))
def test_base64url_is_the_standard_librarys(raw: bytes) -> None:
    """Of any bytes, without the padding."""
    assert base64url.encode(raw) == base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_what_json_has_no_word_for_is_not_signed() -> None:
    """Not a number is no claim."""
    with pytest.raises(ValueError, match="JSON"):
        sign_compact({"n": float("nan")}, media_type="at+jwt", key=_keys(Algorithm.ES256)[0])
