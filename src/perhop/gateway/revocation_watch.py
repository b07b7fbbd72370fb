"""What ends an open stream from outside: a revocation, or the gateway's own stop."""

from __future__ import annotations

import asyncio

from perhop.core.token import BoundToken
from perhop.errors import GatewayStopping
from perhop.rules.revocation import Revocations


class RevocationWatch:
    """Revocations that open streams can wait on. Whoever adds to them calls `notify`."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._changed = asyncio.Event()
        self._stopping = False
        self._time_is_up = False

    def check(self, bound: BoundToken) -> None:
        """Refuse a revoked token.

        Raises: TokenRevoked
        """
        self._revocations.check(bound.token)

    def check_stop(self, *, standing: bool) -> None:
        """Refuse to go on while the gateway stops: at once with a stream that has no end of its own, at last with all.

        Raises: GatewayStopping
        """
        if self._time_is_up or (standing and self._stopping):
            raise GatewayStopping("the gateway stops")

    def stop(self) -> None:
        """The gateway stops: answers may end, and streams without an end are cut."""
        self._stopping = True
        self.notify()

    def stop_all(self) -> None:
        """Answers have had their time, too."""
        self._time_is_up = True
        self.notify()

    def notify(self) -> None:
        """Wake everyone who waits: something was revoked."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Return after the next `notify`."""
        await self._changed.wait()
