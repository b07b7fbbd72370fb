"""The epoch: since when this database has been the one that counts.

A database that is put back from a backup has forgotten what was used up and taken back since. Nothing that it may have
forgotten is taken then: a new epoch begins, and everybody signs in, consents and asks for tokens anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perhop.errors import ClientAuthenticationFailed
from perhop.rules.lifetime import MAX_SKEW
from perhop.tokens.assertion import MAX_ASSERTION_LIFETIME, Assertion


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

    def check_assertion(self, assertion: Assertion, *, now: int) -> None:
        """Refuse an assertion that may have been used before the epoch began: that is no longer known.

        Raises: ClientAuthenticationFailed
        """
        if now > self.row.began_at + MAX_ASSERTION_LIFETIME + 2 * MAX_SKEW:
            return
        if assertion.issued_at is None or assertion.issued_at <= self.row.began_at:
            raise ClientAuthenticationFailed("client assertion: older than the epoch, or without `iat`; make a new one")
