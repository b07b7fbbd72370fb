"""A moment as the journal writes it, and as a number to look for it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

_IN_A_SECOND = 1_000_000


def moment_of(seconds: float) -> tuple[str, int]:
    """A time as text (see `format_time`), and in whole microseconds since the epoch; half of one to the even side."""
    second = int(seconds // 1)
    fraction = round((seconds - second) * _IN_A_SECOND)
    if fraction == _IN_A_SECOND:
        second, fraction = second + 1, 0
    return f"{_second(second)}.{str(_IN_A_SECOND + fraction)[1:]}Z", second * _IN_A_SECOND + fraction


def format_time(seconds: float) -> str:
    """RFC 3339, UTC, microseconds: always 27 characters, so that text order is time order."""
    return moment_of(seconds)[0]


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    """Many records are of one second."""
    return datetime.fromtimestamp(second, tz=UTC).isoformat(timespec="seconds").removesuffix("+00:00")
