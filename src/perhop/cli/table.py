"""Tables for people: columns that fit the terminal, folded at spaces and never inside a word.

Without a terminal a row is one line, for programs that read lines.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

GAP = 2
MEASURED_ROWS = 100
"""Rows that the widths are chosen by; those below follow."""


def printable(text: str) -> str:
    """The text with everything escaped that a terminal might obey: names and reasons come from strangers too."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def lay_out(columns: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None) -> list[str]:
    """The lines of a table in this many cells, None for as many as it takes; where no table fits, one block a row."""
    table = [tuple(columns), *(tuple(_cell(each) for each in row) for row in rows)]
    widths = [max(_length(row[at]) for row in table) for at in range(len(columns))]
    if width is not None:
        narrowed = _narrowed(table[:MEASURED_ROWS], widths, width - GAP * (len(columns) - 1))
        if narrowed is None:
            return _blocks(table)
        widths = narrowed
    return [line for row in table for line in _row_lines(row, widths)]


def _cell(value: object) -> str:
    return "" if value is None else printable(str(value))


def _length(text: str) -> int:
    """How many cells of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def fold(text: str, width: int) -> list[str]:
    """The text in lines of at most this many cells; a longer word gets a line of its own."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and _length(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _narrowed(table: Sequence[Sequence[str]], widths: Sequence[int], room: int) -> list[int] | None:
    """Widths that fit, narrowed where it costs the fewest lines; None if words are too long for any."""
    columns = list(zip(*table, strict=True))
    least = [max(_length(word) for cell in column for word in cell.split(" ")) for column in columns]
    if sum(least) > room:
        return None
    narrowed = list(widths)
    heights = [[1] * len(table) for _ in columns]
    while sum(narrowed) > room:
        tried = []
        for at in (each for each in range(len(columns)) if narrowed[each] > least[each]):
            height = [len(fold(cell, narrowed[at] - 1)) for cell in columns[at]]
            tall = [max(row) for row in zip(*heights[:at], height, *heights[at + 1 :], strict=True)]
            tried.append((sum(tall), -narrowed[at], at, height))
        _, _, at, heights[at] = min(tried)
        narrowed[at] -= 1
    return narrowed


def _row_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [fold(cell, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(len(cell) for cell in cells)):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        padded = (part + " " * (width - _length(part)) for part, width in zip(parts, widths, strict=True))
        lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _blocks(table: Sequence[Sequence[str]]) -> list[str]:
    columns = table[0]
    width = max(_length(column) for column in columns) + GAP
    lines: list[str] = []
    for row in table[1:]:
        lines += [f"{column:<{width}}{cell}".rstrip() for column, cell in zip(columns, row, strict=True) if cell]
        lines.append("")
    return lines[:-1]
