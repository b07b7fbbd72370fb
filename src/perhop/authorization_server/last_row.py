"""When a token last got a row in the database, for those that can do without one.

A database that comes back from a backup is noticed by the newest token whose row it should have. So of the tokens that
are issued in one second, at least one has its row, whatever the others rest on.
"""

from __future__ import annotations


class LastRow:
    """The second in which a token was last recorded in both, database and journal; None before the first."""

    def __init__(self) -> None:
        self._second: int | None = None

    def is_of(self, second: int) -> bool:
        """True if a token of this second is recorded in both."""
        return self._second == second

    def stands(self, second: int) -> None:
        """One of this second is in both, on disk."""
        self._second = second
