"""Base64url: one text for one byte string."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.rules import base64url


@given(st.binary(max_size=64))
def test_bytes_are_read_back(raw: bytes) -> None:
    """What is encoded is decoded."""
    assert base64url.decode(base64url.encode(raw)) == raw


@given(st.text(alphabet="AQgw_-Zz09+/= \n", max_size=9))
def test_every_accepted_text_is_the_only_one(text: str) -> None:
    """A text that is accepted is the one that encoding makes of its bytes."""
    try:
        raw = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(raw) == text


@pytest.mark.parametrize(
    "text", ["QQ==", "QQ=", "Q", "QR", "QQE=", "QQF", "Q+", "Q/", " QQ", "QQ\n", "Q Q", "QQ\u00e9", "Ａ"]
)
def test_other_forms_are_refused(text: str) -> None:
    """Padding, spare bits, other alphabets, whitespace and impossible lengths are refused."""
    with pytest.raises(ValueError, match="base64url"):
        base64url.decode(text)
