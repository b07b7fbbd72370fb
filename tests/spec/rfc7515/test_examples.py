"""The examples of RFC 7515 and RFC 8037 hold under our keys and our parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perhop.errors import TokenSignatureInvalid
from perhop.rules import base64url
from perhop.tokens.keys import Algorithm, parse_jwk
from perhop.tokens.parse import parse_compact
from perhop.tokens.signature import check_signature_under, parse_algorithm

VECTORS = Path(__file__).parents[2] / "vectors"


def vector(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / name).read_text("utf-8"))
    return loaded


@pytest.mark.parametrize("name", ["rfc7515-a2.json", "rfc7515-a3.json"])
def test_signature_of_the_example_holds(name: str) -> None:
    """RFC 7515 appendix A.2 and A.3: the signature holds, and the claims are those of the RFC."""
    example = vector(name)
    jws = parse_compact(example["jws"])
    check_signature_under(jws, parse_algorithm(jws), parse_jwk(example["jwk"]))
    assert jws.payload == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}


@pytest.mark.parametrize("name", ["rfc7515-a2.json", "rfc7515-a3.json"])
def test_altered_example_does_not_hold(name: str) -> None:
    """RFC 7515 §5.2: another payload under the example's signature is refused."""
    example = vector(name)
    header, _, signature = example["jws"].split(".")
    jws = parse_compact(f"{header}.{base64url.encode(b'{}')}.{signature}")
    with pytest.raises(TokenSignatureInvalid):
        check_signature_under(jws, parse_algorithm(jws), parse_jwk(example["jwk"]))


def test_unsecured_example_is_refused() -> None:
    """RFC 7515 appendix A.5: the unsecured JWS is parsed, and its algorithm refused."""
    jws = parse_compact(
        "eyJhbGciOiJub25lIn0."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    )
    with pytest.raises(TokenSignatureInvalid):
        parse_algorithm(jws)


def test_ed25519_example_holds() -> None:
    """RFC 8037 appendix A.4: the Ed25519 signature holds under the key of A.2."""
    example = vector("rfc8037-a.json")
    key = parse_jwk(example["jwk"])
    signature = base64url.decode(example["signature"])
    assert key.is_signature(Algorithm.ED25519, signature, over=example["signed"].encode())
    assert not key.is_signature(Algorithm.ED25519, signature, over=example["signed"].encode() + b"x")
