"""Ids of calls: 16 random hex digits each, drawn many at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

_DIGITS = 16
_AT_ONCE = 256


class CallIds:
    """Gives every call an id of its own. Each time the system is asked for randomness, the other threads may run.

    `new` gives an id that was never given before. For one thread.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self.new: Callable[[], str] = chain.from_iterable(iter(self._draw, [])).__next__

    def _draw(self) -> list[str]:
        digits = self._random_bytes(_AT_ONCE * _DIGITS // 2).hex()
        return [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]
