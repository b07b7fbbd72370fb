"""Characters that show nothing are written out, and every other one is left alone."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.rules.visible_text import is_unseen, seen_in, written_out


def shown(text: str) -> str:
    return "".join(each.text for each in seen_in(text))


@pytest.mark.parametrize(
    "text", ["", "plain text", "Grüße", "e\u0301te\u0301", "שלום", "日本語", "क्षि", "<b>&amp;\"'`", "\\u202e", "🙂"]
)
def test_what_shows_is_left_alone(text: str) -> None:
    """Letters, marks and signs of any script, and markup, which others escape."""
    assert shown(text) == text
    assert all(each.is_plain for each in seen_in(text))


@pytest.mark.parametrize(
    "letter",
    [
        *("\x00", "\n", "\t", "\x7f", "\x85", "\u00a0", "\u00ad", "\u034f", "\u061c", "\u1160", "\u180e", "\u2003"),
        *("\u200b", "\u200f", "\u2028", "\u202a", "\u202e", "\u2060", "\u2066", "\u2069", "\u2800", "\u3000", "\u3164"),
        *("\ufe0f", "\ufeff", "\uffa0", "\ufff9", "\ue000", "\ud800", "\U000e0041", "\U000e0100", "\U0010ffff"),
    ],
)
def test_what_does_not_show_is_written_out(letter: str) -> None:
    """Controls, bidi, zero width, blanks of all kinds, variation selectors, tags, halves of pairs, private use."""
    parts = list(seen_in(f"a{letter}b"))
    assert [(each.text, each.is_plain) for each in parts] == [("a", True), (written_out(letter), False), ("b", True)]
    assert json.loads(f'"{written_out(letter)}"') == letter


def test_marks_do_not_pile_up() -> None:
    """Three on one letter stand, the fourth and those after it are written out."""
    assert shown("a" + "\u0301" * 5 + "b") == "a" + "\u0301" * 3 + "\\u0301" * 2 + "b"


@given(st.text(alphabet=st.characters(exclude_characters="\\")))
def test_nothing_is_lost_and_nothing_hides(text: str) -> None:
    """What is shown says the text again when it is read as JSON would, and holds no character that does not show."""
    written = shown(text)
    assert not any(is_unseen(letter) for letter in written)
    assert all(unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in written)
    escaped = json.dumps(written, ensure_ascii=False).replace("\\\\u", "\\u")
    assert json.loads(escaped) == text
