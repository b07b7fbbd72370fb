"""Thumbprints: a key's name is computed from the key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perhop.tokens.keys import SigningKey, parse_jwk

VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.mark.parametrize("name", ["rfc7638-3.1.json", "rfc8037-a.json"])
def test_thumbprint_of_the_example(name: str) -> None:
    """RFC 7638 §3.1 and RFC 8037 appendix A.3: only the required members count, and in their order."""
    example = json.loads((VECTORS / name).read_text("utf-8"))
    unnamed = {member: value for member, value in example["jwk"].items() if member != "kid"}
    assert parse_jwk(unnamed).kid == example["thumbprint"]


def test_signing_key_is_named_by_its_public_half() -> None:
    """RFC 7638 §3: private and public half have one thumbprint, and it is the `kid`."""
    key = SigningKey.generate()
    unnamed = {member: value for member, value in key.public().as_jwk().items() if member != "kid"}
    assert parse_jwk(unnamed).kid == key.kid == key.public().kid
