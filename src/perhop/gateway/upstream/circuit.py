"""The circuit to an upstream: opened by failures in a row, so that a dead upstream is left alone for a while.

Closed, calls pass. After so many failures in a row it opens, and nothing passes for some seconds. Then one call tries
(half-open): if it gets through the circuit closes, if it fails the circuit is open again. Knows no network and no
clock of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from perhop.errors import UpstreamUnavailable


class Attempt:
    """One call that was let through; whoever asked says how it went, once. Only one that tries is told from others."""


ORDINARY = Attempt()
"""Every call that passes while the circuit is closed."""


class Circuit:
    """Counts failures in a row. `failures` opens it, for `seconds`; `clock` must never go back."""

    def __init__(self, *, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._trial: Attempt | None = None

    @property
    def is_closed(self) -> bool:
        """True if calls pass as they come."""
        return self._opened_at is None

    @property
    def is_untroubled(self) -> bool:
        """True if nothing has failed since the last answer, and no call is trying: another answer changes nothing."""
        return self._opened_at is None and self._trial is None and not self._failures

    def admit(self) -> Attempt:
        """Let a call through, or tell when to come again.

        Raises: UpstreamUnavailable
        """
        if self._opened_at is None:
            return ORDINARY
        attempt = Attempt()
        left = self._opened_at + self._seconds - self._clock()
        if left > 0 or self._trial is not None:
            raise UpstreamUnavailable("the circuit is open", retry_after=max(1, math.ceil(left)))
        self._trial = attempt
        return attempt

    def reached(self, attempt: Attempt) -> None:
        """The upstream has answered, whatever it said."""
        self._forget(attempt)
        self._failures = 0
        self._opened_at = None

    def failed(self, attempt: Attempt) -> None:
        """The upstream could not be reached, broke off, or did not answer in time."""
        was_trial = self._forget(attempt)
        self._failures += 1
        # What was sent before the circuit opened and fails later is no news, and keeps it open no longer.
        if was_trial or (self._opened_at is None and self._failures >= self._limit):
            self._opened_at = self._clock()

    def abandoned(self, attempt: Attempt) -> None:
        """The caller went away: nothing was learned, and another call may try."""
        self._forget(attempt)

    def _forget(self, attempt: Attempt) -> bool:
        was_trial = attempt is self._trial
        if was_trial:
            self._trial = None
        return was_trial
