"""Tables for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.cli.table import fold, lay_out, printable

COLUMNS = ("", "TRIED", "AT", "SEEN")
ROWS = (
    ("ok", "other-audience-at-gateway", "gateway", "401 audience.mismatch"),
    ("ok", "two-audiences", "sts", "400 invalid_target audience.multiple"),
)

words = st.lists(st.text(alphabet="abcdef.-", min_size=1, max_size=12), min_size=1, max_size=8).map(" ".join)
tables = st.lists(st.tuples(words, words, words), min_size=1, max_size=6)


def test_without_a_terminal_a_row_is_a_line() -> None:
    """However long the cells are, a row is one line, and columns stand below each other."""
    lines = lay_out(COLUMNS, ROWS, width=None)
    assert len(lines) == 3
    assert {line.index(seen) for line, seen in zip(lines, ("SEEN", "401", "400"), strict=True)} == {40}


def test_a_narrow_terminal_folds_at_spaces() -> None:
    """The column gives way that costs the fewest lines."""
    assert lay_out(COLUMNS, ROWS, width=64) == [
        "    TRIED                      AT       SEEN",
        "ok  other-audience-at-gateway  gateway  401 audience.mismatch",
        "ok  two-audiences              sts      400 invalid_target",
        "                                        audience.multiple",
    ]


def test_where_no_table_fits_a_row_is_a_block() -> None:
    """Words that are too long for any table stand below each other, each behind the name of its column."""
    assert lay_out(("NAME", "URI"), [("a", "https://example.com"), ("b", None)], width=20) == [
        "NAME  a",
        "URI   https://example.com",
        "",
        "NAME  b",
    ]


@given(tables, st.integers(min_value=20, max_value=200))
def test_no_word_is_ever_cut(rows: list[tuple[str, str, str]], width: int) -> None:
    """Every word of every cell stands whole in some line, and a table keeps to its width."""
    lines = lay_out(("A", "B", "C"), rows, width=width)
    shown = {word for line in lines for word in line.split()}
    assert {word for row in rows for cell in row for word in cell.split()} <= shown
    is_blocks = lines[0].split()[:2] != ["A", "B"]
    assert is_blocks or max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("text", "shown"), [("\x1b[2Jgone", "\\x1b[2Jgone"), ("a\nb", "a\\nb"), ("\u202ex", "\\u202ex")]
)
def test_what_a_terminal_might_obey_is_escaped(text: str, shown: str) -> None:
    """A name that a stranger chose moves no cursor, and turns no line round."""
    assert printable(text) == shown
    assert lay_out(("A",), [(text,)], width=None) == ["A", shown]


def test_wide_letters_take_two_cells() -> None:
    """Columns line up below letters that take two cells each."""
    assert lay_out(("A", "B"), [("日本", "x"), ("abcd", "y")], width=None) == ["A     B", "日本  x", "abcd  y"]


def test_a_word_longer_than_the_line_gets_a_line() -> None:
    """It stands alone, and whole."""
    assert fold("a verylongword b", 6) == ["a", "verylongword", "b"]
