"""The revocations in force, and a way to wait until there are more of them."""

from __future__ import annotations

import asyncio

from perhop.core.token import BoundToken
from perhop.rules.revocation import Revocations


class RevocationWatch:
    """Revocations that open streams can wait on. Whoever adds to them calls `notify`."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._changed = asyncio.Event()

    def check(self, bound: BoundToken) -> None:
        """Refuse a revoked token.

        Raises: TokenRevoked
        """
        self._revocations.check(bound.token)

    def notify(self) -> None:
        """Wake everyone who waits: something was revoked."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Return after the next `notify`."""
        await self._changed.wait()
