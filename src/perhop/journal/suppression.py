"""Suppression: a flood of refusals without authentication must not fill the journal; it is counted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RECORDED_A_SECOND = 10
"""Refusals of one address for one reason that are recorded singly within one second."""

MAX_KEYS = 4096
"""Addresses and reasons told apart at a time; the rest share one count for each reason."""

MANY = "many"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """So many refusals were not recorded singly; times are seconds since the epoch."""

    address: str
    reason: str
    count: int
    first: float
    last: float


@dataclass(slots=True)
class _Count:
    second: int
    seen: int = 0
    suppressed: int = 0
    first: float = 0.0
    last: float = 0.0


class RefusalCounter:
    """Counts refusals by address and reason. Not thread-safe; its owner holds a lock."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], _Count] = {}

    def admit(self, address: str, reason: str, *, now: float) -> bool:
        """True if this refusal is recorded singly, False if it was counted."""
        key = (address, reason)
        if key not in self._counts and len(self._counts) >= MAX_KEYS:
            key = (MANY, reason)
        count = self._counts.setdefault(key, _Count(int(now)))
        if count.second != int(now):
            count.second, count.seen = int(now), 0
        count.seen += 1
        if count.seen <= RECORDED_A_SECOND:
            return True
        count.first = count.first if count.suppressed else now
        count.last = now
        count.suppressed += 1
        return False

    @property
    def is_idle(self) -> bool:
        """True while nothing is counted."""
        return not self._counts

    def drain(self, *, now: float | None) -> Sequence[Suppressed]:
        """What was counted in seconds that are over; with None, everything. It is forgotten here."""
        over = [key for key, count in self._counts.items() if now is None or count.second != int(now)]
        counts = [(key, self._counts.pop(key)) for key in over]
        return [
            Suppressed(address=address, reason=reason, count=count.suppressed, first=count.first, last=count.last)
            for (address, reason), count in counts
            if count.suppressed
        ]
