"""Statements: signed, and of exactly their type."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.errors import TokenKeyUnknown, TokenMalformed, TokenSignatureInvalid, TokenTypeWrong
from perhop.tokens.keys import SigningKey
from perhop.tokens.statement import MAX_STATEMENT_BYTES, read_statement, sign_statement
from tests.support.forge import good_claims, replace_signature, sign, unsigned

KEY = SigningKey.generate()
KEYS = {KEY.kid: KEY.public()}
TYP = "revocations+jwt"
PAYLOAD: dict[str, Any] = {"iss": "https://auth.example.com", "iat": 1, "after": 0, "next": 1, "entries": [{"seq": 1}]}


def test_statement_is_read_back() -> None:
    """What was signed is what is read."""
    assert read_statement(sign_statement(PAYLOAD, typ=TYP, key=KEY), typ=TYP, keys=KEYS) == PAYLOAD


def test_access_token_is_no_statement_and_the_reverse() -> None:
    """A token of another type under the same key is refused."""
    with pytest.raises(TokenTypeWrong):
        read_statement(sign(good_claims(), KEY), typ=TYP, keys=KEYS)
    with pytest.raises(TokenTypeWrong):
        read_statement(sign_statement(PAYLOAD, typ=TYP, key=KEY), typ="checkpoint+jwt", keys=KEYS)


def test_forged_statements_are_refused() -> None:
    """Unsigned, altered and foreign statements are refused."""
    good = sign_statement(PAYLOAD, typ=TYP, key=KEY)
    stranger = SigningKey.generate()
    with pytest.raises(TokenSignatureInvalid):
        read_statement(replace_signature(good, bytes(64)), typ=TYP, keys=KEYS)
    with pytest.raises(TokenKeyUnknown):
        read_statement(sign_statement(PAYLOAD, typ=TYP, key=stranger), typ=TYP, keys=KEYS)
    with pytest.raises(TokenTypeWrong):
        read_statement(unsigned(PAYLOAD, KEY), typ=TYP, keys=KEYS)


def test_statements_may_be_long_but_not_endless() -> None:
    """A feed of many entries is read; beyond a megabyte it is refused."""
    long = {"entries": ["x" * 64] * 5000}
    assert read_statement(sign_statement(long, typ=TYP, key=KEY), typ=TYP, keys=KEYS) == long
    with pytest.raises(TokenMalformed):
        read_statement("A" * (MAX_STATEMENT_BYTES + 1), typ=TYP, keys=KEYS)
