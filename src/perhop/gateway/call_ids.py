"""Ids of calls: 16 random hex digits each, drawn many at a time."""

from __future__ import annotations

from collections.abc import Callable

_DIGITS = 16
_AT_ONCE = 256


class CallIds:
    """Gives every call an id of its own. Each time the system is asked for randomness, the other threads may run."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._drawn: list[str] = []

    def new(self) -> str:
        """An id that was never given before."""
        if not self._drawn:
            digits = self._random_bytes(_AT_ONCE * _DIGITS // 2).hex()
            self._drawn = [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]
        return self._drawn.pop()
