"""Where each statement of a Cedar file begins, and how deep it goes: Cedar's own parser tells no lines.

Serves messages, and keeps from the parser what would overflow its stack and take the process along. What a file means
is always Cedar's answer, never this module's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A string may hold `;` and `//`, a comment may hold `;` and `"`: both are stepped over whole. The last branch of the
# string lets an unclosed one run to the end of the file.
_TOKEN = re.compile(
    r"""
    (?P<trivia>\s+|//[^\n]*)
    | (?P<string>"(?:[^"\\]|\\.)*(?:"|\Z))
    | (?P<end>;)
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<operator>&&|\|\||[-+*.!]|\bif\b)
    | (?P<other>\w+|.)
    """,
    re.DOTALL | re.VERBOSE,
)
# The parser (4.12) takes 100 levels, and dies of a thousand brackets in each other or five thousand operators in a row.
DEEPEST = 100
MOST_OPERATORS = 1000


@dataclass(frozen=True, slots=True)
class Statement:
    """The text of one policy, `;` included, and the line of its first character; unfinished at the end of a file."""

    line: int
    text: str
    depth: int
    operators: int

    @property
    def is_parsable(self) -> bool:
        """False if the parser must not be shown this."""
        return self.depth <= DEEPEST and self.operators <= MOST_OPERATORS


def split_statements(source: str) -> tuple[Statement, ...]:
    """Split a file at the `;` that stand outside strings and comments."""
    statements: list[Statement] = []
    begin: int | None = None
    for token in _TOKEN.finditer(source):
        if begin is None and token.lastgroup != "trivia":
            begin = token.start()
        if begin is not None and token.lastgroup == "end":
            statements.append(_statement(source, begin, token.end()))
            begin = None
    if begin is not None:
        statements.append(_statement(source, begin, len(source)))
    return tuple(statements)


def _statement(source: str, begin: int, end: int) -> Statement:
    text = source[begin:end]
    depth = deepest = operators = 0
    for token in _TOKEN.finditer(text):
        match token.lastgroup:
            case "open":
                depth += 1
                deepest = max(deepest, depth)
                operators += token[0] == "["  # `a["b"]["c"]` is a row of operators, too
            case "close":
                depth -= 1
            case "operator":
                operators += 1
    return Statement(source.count("\n", 0, begin) + 1, text, deepest, operators)
