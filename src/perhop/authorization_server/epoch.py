"""The epoch: since when this database has been the one that counts.

A database that is put back from a backup has forgotten what was used up and taken back since. Nothing that it may have
forgotten is taken then: a new epoch begins, and everybody signs in, consents and asks for tokens anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """The epoch in force; `began_at` in seconds since the epoch of the clock, 0 for the first one.

    `starts` counts how often a server has begun with this database.
    """

    number: int
    began_at: int
    starts: int


class Epochs(Protocol):
    """The epoch as the database keeps it."""

    async def current(self) -> EpochRow: ...

    async def count_start(self) -> int:
        """Count one start more; durable before its number is told to anybody."""
        ...

    async def begin(self, *, now: int, above: int) -> EpochRow:
        """Begin the next epoch, of a number above that one.

        In the same transaction drop what may have been used up, ended or taken back: codes, sign-ins, consents,
        approvals of calls and tasks. Tokens and refresh families are the revoker's.
        """
        ...

    async def is_recorded(self, jti: str) -> bool:
        """True if this database holds the record of this token."""
        ...

    async def last_revocation(self) -> int:
        """The highest number that a revocation ever had here, forgotten ones included."""
        ...


class Epoch:
    """The epoch in force, in memory."""

    def __init__(self, rows: Epochs) -> None:
        self.rows = rows
        self.row = EpochRow(number=1, began_at=0, starts=0)

    async def load(self) -> None:
        """Read what the database holds; before the first request. Raises: StorageUnavailable."""
        self.row = await self.rows.current()

    async def begin(self, *, now: int, above: int = 0) -> EpochRow:
        """Begin the next one, of a number above that one. Raises: StorageUnavailable."""
        self.row = await self.rows.begin(now=now, above=above)
        return self.row

    def knows_uses_of(self, *, issued_at: int | None, expires_at: int, longest: int) -> bool:
        """True if what is good once would be known here as used, if it was: it was made after the epoch began.

        `longest` is how many seconds ahead its end may have lain when it was taken, which tells what does not say its
        `iat`. Takes `iat` as it is: a maker's clock may be ahead.
        """
        made_at = issued_at if issued_at is not None else expires_at - longest
        return made_at > self.row.began_at
