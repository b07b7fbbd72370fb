"""What a text looks like to a person: characters that show nothing, or turn others around, are written out.

Letters of any script stay what they are. Does not look for letters that look like others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# What Unicode calls default-ignorable, and blanks that count as letters or symbols; the rest is not printable.
_UNSEEN = frozenset(
    chr(code)
    for first, last in (
        *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164)),
        *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0000, 0xE0FFF)),
    )
    for code in range(first, last + 1)
)
# Most text is of these, and an agent chooses how long it is: they are not looked at one by one.
_RUN = re.compile(r"(?P<ascii>[ -~]+)|[^ -~]+")
_MARKS = ("Mn", "Me")
_MOST_MARKS = 3
"""So many marks on one letter languages need; with more of them other lines can be painted over."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A part of a text as it is to be shown; `is_plain` is False for what stands for something that does not show."""

    text: str
    is_plain: bool


def seen_in(text: str) -> Iterator[Seen]:
    """The text in parts, in order. What would not show is written as JSON escapes it: `\\u202e`."""
    for run in _RUN.finditer(text):
        if run["ascii"] is not None:
            yield Seen(run[0], True)
        else:
            yield from _seen_in_run(run[0])


def _seen_in_run(run: str) -> Iterator[Seen]:
    marks = 0
    begun, is_plain = 0, True
    for at, letter in enumerate(run):
        marks = marks + 1 if unicodedata.category(letter) in _MARKS else 0
        shows = marks <= _MOST_MARKS and not is_unseen(letter)
        if shows is not is_plain:
            if begun < at:
                yield _part(run[begun:at], is_plain)
            begun, is_plain = at, shows
    yield _part(run[begun:], is_plain)


def _part(letters: str, is_plain: bool) -> Seen:
    return Seen(letters if is_plain else "".join(map(written_out, letters)), is_plain)


def is_unseen(letter: str) -> bool:
    """True for a character that shows nothing of its own; the space is not one of them.

    Controls, formats (bidi and zero width among them), surrogates, private use, unassigned, separators, and others
    that no font draws.
    """
    return not letter.isprintable() or letter in _UNSEEN


def written_out(letter: str) -> str:
    """One character as JSON escapes it. Spec: RFC 8259 §7."""
    code = ord(letter)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
