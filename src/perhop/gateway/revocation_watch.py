"""What ends an open stream from outside: a revocation, another configuration, or the gateway's own stop."""

from __future__ import annotations

import asyncio

from perhop.core.token import BoundToken
from perhop.errors import StreamSuperseded
from perhop.rules.revocation import Revocations


class RevocationWatch:
    """Revocations that open streams can wait on. Whoever adds to them calls `notify`."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._changed = asyncio.Event()
        self._superseded = ""

    def check(self, bound: BoundToken) -> None:
        """Refuse a revoked token.

        Raises: TokenRevoked
        """
        self._revocations.check(bound.token)

    def check_standing(self) -> None:
        """Refuse to go on with a stream that has no end of its own.

        Raises: StreamSuperseded
        """
        if self._superseded:
            raise StreamSuperseded(self._superseded)

    def supersede(self, why: str) -> None:
        """No call begins here any more: answers may end, and streams without an end are cut."""
        self._superseded = why
        self.notify()

    def notify(self) -> None:
        """Wake everyone who waits: something was revoked."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Return after the next `notify`."""
        await self._changed.wait()
