"""JWK Sets: what is doubtful is refused whole, what is not for us is passed over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perhop.errors import KeysUnavailable
from perhop.tokens.jwks import MAX_JWKS_BYTES, parse_jwks, render_jwks
from perhop.tokens.keys import Algorithm, SigningKey

FIRST = SigningKey.generate().public()
SECOND = SigningKey.generate(Algorithm.ED25519).public()
JWK = FIRST.as_jwk()


def parse(*members: object) -> list[str]:
    return list(parse_jwks(json.dumps({"keys": members}).encode()))


def test_published_set_is_read_back() -> None:
    """A reader of our key set gets our keys."""
    assert parse_jwks(json.dumps(render_jwks([FIRST, SECOND])).encode()) == {FIRST.kid: FIRST, SECOND.kid: SECOND}


REFUSED: dict[str, list[Any]] = {
    "two keys of one name": [JWK, SECOND.as_jwk() | {"kid": FIRST.kid}],
    "the same key twice": [JWK, JWK],
    "the name of a key that is passed over": [JWK, {"kty": "EC", "crv": "P-521", "kid": FIRST.kid}],
    "symmetric key": [JWK, {"kty": "oct", "kid": "x", "k": "AAAA"}],
    "symmetric key without value": [JWK, {"kty": "oct", "kid": "x"}],
    "private key": [JWK | {"d": "AAAA"}],
    "not an object": [JWK, "key"],
    "too many": [JWK | {"kid": str(number)} for number in range(51)],
}


@pytest.mark.parametrize("members", REFUSED.values(), ids=REFUSED.keys())
def test_doubtful_set_is_refused_whole(members: list[Any]) -> None:
    """A set of which nobody can say what to believe gives no key at all."""
    with pytest.raises(KeysUnavailable):
        parse(*members)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[],"keys":[]}', b"null", b"<html>"])
def test_what_is_no_set_is_refused(raw: bytes) -> None:
    """Another document, also one with a key twice, is no key set."""
    with pytest.raises(KeysUnavailable):
        parse_jwks(raw)


PASSED_OVER: dict[str, dict[str, Any]] = {
    "for encryption": SECOND.as_jwk() | {"use": "enc"},
    "only for signing": SECOND.as_jwk() | {"key_ops": ["sign"]},
    "another curve": {"kty": "EC", "crv": "P-521", "kid": "x", "x": "AA", "y": "AA"},
    "another type": {"kty": "AKP", "kid": "x"},
    "no type": {"kid": "x"},
    "weak": {"kty": "RSA", "kid": "x", "n": "8QAB", "e": "AQAB"},
    "no name": {name: value for name, value in SECOND.as_jwk().items() if name != "kid"},
}


@pytest.mark.parametrize("other", PASSED_OVER.values(), ids=PASSED_OVER.keys())
def test_keys_that_are_not_for_us_are_passed_over(other: dict[str, Any]) -> None:
    """An issuer may publish other keys; none of them verifies a token here."""
    assert parse(JWK, other) == [FIRST.kid]


def test_fifty_keys_are_a_set() -> None:
    """The bound on keys is met exactly."""
    assert len(parse(*(JWK | {"kid": str(number)} for number in range(50)))) == 50


def test_size_is_bounded() -> None:
    """64 KiB are a set, one byte more is not."""
    raw = json.dumps({"keys": [JWK]}).encode()
    assert parse_jwks(raw.ljust(MAX_JWKS_BYTES))
    with pytest.raises(KeysUnavailable):
        parse_jwks(raw.ljust(MAX_JWKS_BYTES + 1))
