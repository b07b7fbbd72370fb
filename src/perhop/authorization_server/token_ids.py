"""Ids of tokens and transactions: when they were drawn, and 80 random bits; drawn many at a time.

Ids that were drawn together begin alike. The journal looks records up by them, in an index for each kind: what is
written at one time lies together there, and a commit touches few pages of an index instead of one for each token.

Spec: RFC 7519 §4.1.7
"""

from __future__ import annotations

from collections.abc import Callable

from perhop.rules import base64url

TIME_BYTES, RANDOM_BYTES = 6, 10
"""Milliseconds since the epoch, and 80 bits that nobody can guess. Together 22 characters of base64url."""

_AT_ONCE = 128
_LENGTH, _GROUPS = 14, 16
"""Characters of base64url that the random bytes have, and with what fills up their last group."""
_PADDING = bytes(2)


class TokenIds:
    """Gives an id that was never given before. Each time the system is asked for randomness, the other threads may run.

    The time in it is that of the drawing, which may be long past: it says nothing about the token. For the event loop's
    thread only.
    """

    def __init__(self, randomness: Callable[[int], bytes], clock: Callable[[], float]) -> None:
        self._randomness = randomness
        self._clock = clock
        self._drawn: list[str] = []

    def new(self) -> str:
        """The next one."""
        if not self._drawn:
            # Whatever the clock says, there are so many bytes: the id of a token is no place to fail.
            time = (int(self._clock() * 1000) % 256**TIME_BYTES).to_bytes(TIME_BYTES)
            begin = base64url.encode(time)
            drawn = self._randomness(_AT_ONCE * RANDOM_BYTES)
            # Padded to whole groups of base64, so that all of them are encoded at once and none shares a character.
            padded = b"".join([drawn[at : at + RANDOM_BYTES] + _PADDING for at in range(0, len(drawn), RANDOM_BYTES)])
            encoded = base64url.encode(padded)
            self._drawn = [begin + encoded[at : at + _LENGTH] for at in range(0, len(encoded), _GROUPS)]
        return self._drawn.pop()
