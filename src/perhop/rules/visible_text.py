"""What a text looks like to a person: characters that show nothing, or turn others around, are written out.

Letters of any script stay what they are. Does not look for letters that look like others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# Controls, formats (bidi and zero width among them), surrogates, private use, unassigned; separators but the space.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# What Unicode calls default-ignorable, and blanks that count as letters or symbols.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_MOST_MARKS = 3
"""So many marks on one letter languages need; with more of them other lines can be painted over."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A part of a text as it is to be shown; `is_plain` is False for what stands for something that does not show."""

    text: str
    is_plain: bool


def seen_in(text: str) -> Iterator[Seen]:
    """The text in parts, in order. What would not show is written as JSON escapes it: `\\u202e`."""
    plain: list[str] = []
    marks = 0
    for letter in text:
        marks = marks + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        if letter == " " or (marks <= _MOST_MARKS and not is_unseen(letter)):
            plain.append(letter)
            continue
        if plain:
            yield Seen("".join(plain), True)
            plain.clear()
        yield Seen(written_out(letter), False)
    if plain:
        yield Seen("".join(plain), True)


def is_unseen(letter: str) -> bool:
    """True for a character that shows nothing of its own; the space is not one of them."""
    if letter == " ":
        return False
    return unicodedata.category(letter) in _UNSEEN_CATEGORIES or _UNSEEN.fullmatch(letter) is not None


def written_out(letter: str) -> str:
    """One character as JSON escapes it. Spec: RFC 8259 §7."""
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
