"""Ids of calls: 16 hex digits each, six of when they were drawn and ten random ones; drawn many at a time.

Ids that were drawn together begin alike, so that they lie together in the journal's index: see
`perhop.authorization_server.token_ids`. Towards the upstream an id is the call's span, too, and a span has 16 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

_TIME_DIGITS, _RANDOM_DIGITS = 6, 10
_A_SECOND = 16
"""Steps of the time: it begins anew after twelve days, and what is drawn in one step shares its digits."""

_AT_ONCE = 256


class CallIds:
    """Gives every call an id of its own. Each time the system is asked for randomness, the other threads may run.

    `new` gives an id that was never given before. For one thread.
    """

    def __init__(self, random_bytes: Callable[[int], bytes], clock: Callable[[], float]) -> None:
        self._random_bytes = random_bytes
        self._clock = clock
        self.new: Callable[[], str] = chain.from_iterable(iter(self._draw, [])).__next__

    def _draw(self) -> list[str]:
        time = f"{int(self._clock() * _A_SECOND) % 16**_TIME_DIGITS:0{_TIME_DIGITS}x}"
        digits = self._random_bytes(_AT_ONCE * _RANDOM_DIGITS // 2).hex()
        return [time + digits[at : at + _RANDOM_DIGITS] for at in range(0, len(digits), _RANDOM_DIGITS)]
