"""A verifier with two of our keys and one foreign issuer, and how to say that it refuses a token."""

from __future__ import annotations

from typing import Any, Final

import pytest

from perhop.core.token import VerifiedToken
from perhop.errors import BearerRefused
from perhop.tokens.keys import Algorithm, SigningKey
from perhop.tokens.verify import Leeway, verify
from tests.support.forge import ISSUER, NOW

KEY: Final = SigningKey.generate()
EDWARDS: Final = SigningKey.generate(Algorithm.ED25519)
FOREIGN: Final = SigningKey.generate()
OTHER_ISSUER: Final = "https://other.example.com"
KEYS: Final = {
    ISSUER: {key.kid: key.public() for key in (KEY, EDWARDS)},
    OTHER_ISSUER: {FOREIGN.kid: FOREIGN.public()},
}


def check(raw: str, *, now: int = NOW, leeway: Leeway = Leeway.NONE) -> VerifiedToken:
    """Verify as the gateway does, at the time at which good tokens were issued."""
    return verify(raw, keys=KEYS, now=now, leeway=leeway)


def refuse(raw: str, fact: type[BearerRefused], **context: Any) -> None:
    """The token is refused by exactly this fact."""
    with pytest.raises(BearerRefused) as refusal:
        check(raw, **context)
    assert refusal.type is fact, refusal.value
