"""Addresses and passwords as a stranger sends them: what is done with them is bounded before it is done."""

from __future__ import annotations

import unicodedata

import pytest
from argon2 import PasswordHasher

from perhop.authorization_server.interaction import passwords
from perhop.authorization_server.interaction.passwords import MAX_EMAIL_CHARACTERS, Passwords, parse_email
from perhop.authorization_server.store import Account

MARKS = "a" + "\u0301\u0316" * 20_000


@pytest.fixture
def normalised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long each text was that was normalised."""
    lengths: list[int] = []

    class Watched:
        @staticmethod
        def normalize(form: str, text: str) -> str:
            lengths.append(len(text))
            return unicodedata.normalize(form, text)

    monkeypatch.setattr(passwords, "unicodedata", Watched)
    return lengths


def test_no_stranger_makes_others_wait_by_a_long_address(normalised: list[int]) -> None:
    """Normalising takes the square of a text's length, and holds up everybody: it is cut first."""
    assert len(parse_email(MARKS)) <= MAX_EMAIL_CHARACTERS
    assert max(normalised) <= MAX_EMAIL_CHARACTERS


async def test_no_stranger_makes_others_wait_by_a_long_password(normalised: list[int]) -> None:
    """So for a password; one that is as long as may be is still told from another."""
    longest = "p" * (passwords.MAX_PASSWORD_BYTES - 1)
    known = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    ann = Account(email="ann@example.com", subject="user:ann", password_hash=known.hash(longest + "q"))
    asked = [await known.is_right(ann, password) for password in (longest + "q", longest + "r", MARKS)]
    assert asked == [True, False, False]
    assert max(normalised) <= passwords.MAX_PASSWORD_BYTES


def test_an_address_has_one_spelling() -> None:
    """Composed or not, in capitals or not, with space around it or not."""
    assert parse_email(" E\u0301va@Example.com ") == parse_email("\u00e9va@example.com")
