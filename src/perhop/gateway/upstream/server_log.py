"""What a stdio server writes on stderr, into our log: one entry a line, bounded, escaped, and not too many of them."""

from __future__ import annotations

import logging
from collections.abc import Callable

MAX_CHARACTERS = 1_000
MAX_ENTRIES = 50
WINDOW_SECONDS = 10.0

_log = logging.getLogger("perhop.upstream")


class ServerLog:
    """The log of one server. Beyond a rate entries are counted, and the count is written instead of them."""

    def __init__(self, name: str, *, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._window_ends = float("-inf")
        self._entries = 0
        self._left_out = 0

    def say(self, line: bytes | None) -> None:
        """A line that the server wrote; None for one that was too long to be kept."""
        self._enter(logging.INFO, "says: " + ("(a very long line)" if line is None else as_printable(line)))

    def complain(self, what: str) -> None:
        """Something that we noticed about the server."""
        self._enter(logging.WARNING, what)

    def _enter(self, level: int, text: str) -> None:
        now = self._clock()
        if now >= self._window_ends:
            if self._left_out:
                _log.warning("`%s`: entries left out: %d", self._name, self._left_out)
            self._window_ends, self._entries, self._left_out = now + WINDOW_SECONDS, 0, 0
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            self._left_out += 1
            return
        _log.log(level, "`%s` %s", self._name, text)


def as_printable(line: bytes) -> str:
    """The text with everything escaped that could pass for a line of its own or move a terminal's cursor."""
    text = line[: 4 * MAX_CHARACTERS].decode("utf-8", "backslashreplace")
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return shown if len(shown) <= MAX_CHARACTERS else f"{shown[:MAX_CHARACTERS]}…"
