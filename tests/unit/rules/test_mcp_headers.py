"""Mirrored headers: one text, one encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import HeaderMismatch
from perhop.rules.mcp_headers import (
    check_name_header,
    decode_mirrored,
    encode_mirrored,
    mirrored_headers,
    single_header,
)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_text_comes_back(text: str) -> None:
    """What is encoded is decoded to the same, and is always fit for a header."""
    written = encode_mirrored(text)
    assert decode_mirrored(written) == text
    assert written.isascii()
    assert written.isprintable()
    assert written == written.strip()


@pytest.mark.parametrize("text", ["add", "a b", "note://x?y=1", "=?base64?", "=?utf8?x?="])
def test_plain_text_stays_plain(text: str) -> None:
    """Printable ASCII without blanks at its ends needs no encoding."""
    assert encode_mirrored(text) == text


@pytest.mark.parametrize("text", [" add", "add ", "é", "a\nb", "a\x00b", "=?base64?YWRk?=", "=?BASE64?YWRk?="])
def test_other_text_is_encoded(text: str) -> None:
    """Also what only looks encoded."""
    assert encode_mirrored(text).startswith("=?base64?")
    assert encode_mirrored(text) != text


@pytest.mark.parametrize(
    "value",
    ["=?base64?YWR?=", "=?base64?YWRk=?=", "=?base64?YW Rk?=", "=?base64?/w==?=", "=?base64?YWR=?=", "é", "a\x7f", ""],
)
def test_bad_encodings_are_refused(value: str) -> None:
    """Bad base64, bad UTF-8 and a second spelling of the same octets."""
    with pytest.raises(HeaderMismatch):
        decode_mirrored(value)


def test_a_header_that_may_come_once() -> None:
    """Absent is None, blanks around do not count, twice is refused."""
    assert single_header((), "a") is None
    assert single_header((("a", " b\t"),), "a") == "b"
    with pytest.raises(HeaderMismatch):
        single_header((("a", "b"), ("a", "b")), "a")


def test_a_name_is_compared_exactly() -> None:
    """No case, no normal form, no prefix."""
    check_name_header((("mcp-name", encode_mirrored("caf\u00e9")),), "caf\u00e9")
    for other in ("cafe\u0301", "Caf\u00e9", "caf"):
        with pytest.raises(HeaderMismatch):
            check_name_header((("mcp-name", encode_mirrored("caf\u00e9")),), other)


def test_what_is_written_upstream() -> None:
    """Revision and method always, the name where the method has one."""
    assert mirrored_headers(revision="r", method="m", name=None) == (("mcp-protocol-version", "r"), ("mcp-method", "m"))
    assert mirrored_headers(revision="r", method="m", name="é")[-1] == ("mcp-name", "=?base64?w6k=?=")
