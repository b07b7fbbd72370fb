"""Ids of tokens and transactions: 128 random bits each, drawn many at a time."""

from __future__ import annotations

import base64
from collections.abc import Callable

ID_BYTES = 16
"""128 bits."""

_AT_ONCE = 128
_LENGTH = 22
"""Characters of base64url without padding."""


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
            self._drawn = [
                base64.urlsafe_b64encode(drawn[at : at + ID_BYTES])[:_LENGTH].decode("ascii")
                for at in range(0, len(drawn), ID_BYTES)
            ]
        return self._drawn.pop()
