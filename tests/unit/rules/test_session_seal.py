"""Sealed ids: they open for one principal, one purpose and one day, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import SessionMismatch
from perhop.rules.session_seal import SEAL_SECONDS, Principal, SealPurpose, seal, unseal

KEY = b"k" * 32
NOW = 1_800_000_000
ANN = Principal("https://auth.example.com", "user:ann", "planner", "https://mcp.example.com/mcp", "acme")


def sealed(value: str = "session-1", principal: Principal = ANN, within: str = "", nonce: bytes = b"n" * 12) -> str:
    return seal(value, principal, purpose=SealPurpose.SESSION, within=within, key=KEY, nonce=nonce, now=NOW)


def opened(
    text: str,
    principal: Principal = ANN,
    *,
    purpose: SealPurpose = SealPurpose.SESSION,
    within: str = "",
    keys: tuple[bytes, ...] = (KEY,),
    now: int = NOW,
) -> str:
    return unseal(text, principal, purpose=purpose, within=within, keys=keys, now=now)


@given(value=st.text(st.characters(exclude_categories=["Cs"])), nonce=st.binary(min_size=12, max_size=12))
def test_what_is_sealed_opens(value: str, nonce: bytes) -> None:
    """The value comes back, and is fit for a header in between."""
    text = sealed(value, nonce=nonce)
    assert text.isascii()
    assert opened(text) == value


def test_it_opens_for_a_day() -> None:
    """At the last second it opens, one later it does not."""
    assert opened(sealed(), now=NOW + SEAL_SECONDS - 1) == "session-1"
    with pytest.raises(SessionMismatch):
        opened(sealed(), now=NOW + SEAL_SECONDS)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://other.example.com"},
        {"subject": "user:eve"},
        {"agent": "other"},
        {"audience": "https://mcp.example.com/mcp/"},
        {"tenant": None},
        {"tenant": "globex"},
    ],
)
def test_it_opens_for_its_principal_only(change: dict[str, str | None]) -> None:
    """Any part of the principal that differs closes it."""
    with pytest.raises(SessionMismatch):
        opened(sealed(), replace(ANN, **change))  # type: ignore[arg-type]  # the values are of the fields' types


def test_it_opens_for_its_purpose_and_session_only() -> None:
    """An event id is no session id, nor that of another session."""
    with pytest.raises(SessionMismatch):
        opened(sealed(), purpose=SealPurpose.EVENT)
    with pytest.raises(SessionMismatch):
        opened(sealed(within="a"), within="b")


def test_a_predecessor_key_opens() -> None:
    """Any of the keys that are held opens it, no other does."""
    assert opened(sealed(), keys=(b"n" * 32, KEY)) == "session-1"
    with pytest.raises(SessionMismatch):
        opened(sealed(), keys=(b"n" * 32,))


@given(st.data())
def test_a_changed_character_closes_it(data: st.DataObject) -> None:
    """There is no second spelling of a sealed value."""
    text = sealed()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_=+/ é").filter(lambda each: each != text[place]))
    with pytest.raises(SessionMismatch):
        opened(text[:place] + other + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "A", "AAAA", "=", "session-1", "A" * 8193])
def test_what_was_not_sealed_does_not_open(text: str) -> None:
    """Whatever it is, the answer is the same."""
    with pytest.raises(SessionMismatch):
        opened(text)


def test_the_same_value_is_not_recognised() -> None:
    """Two seals of one value have nothing in common."""
    assert sealed(nonce=b"a" * 12)[16:] != sealed(nonce=b"b" * 12)[16:]
