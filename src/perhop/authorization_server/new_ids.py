"""Ids of tokens and transactions: 128 random bits each, drawn many at a time."""

from __future__ import annotations

import base64
from collections.abc import Callable

ID_BYTES = 16
"""128 bits."""

_AT_ONCE = 128
_LENGTH, _GROUPS = 22, 24
"""Characters of base64url that an id has, and with what fills up its last group."""
_PADDING = bytes(2)


class NewIds:
    """Gives an id that was never given before. Each time the system is asked for randomness, the other threads may run.

    For the event loop's thread only.
    """

    def __init__(self, randomness: Callable[[int], bytes]) -> None:
        self._randomness = randomness
        self._drawn: list[str] = []

    def new(self) -> str:
        """The next one."""
        if not self._drawn:
            drawn = self._randomness(_AT_ONCE * ID_BYTES)
            # Padded to whole groups of base64, so that all of them are encoded at once and none shares a character.
            padded = b"".join([drawn[at : at + ID_BYTES] + _PADDING for at in range(0, len(drawn), ID_BYTES)])
            encoded = base64.urlsafe_b64encode(padded).decode("ascii")
            self._drawn = [encoded[at : at + _LENGTH] for at in range(0, len(encoded), _GROUPS)]
        return self._drawn.pop()
