"""What ends an open stream from outside: a revocation, another configuration, or the gateway's own stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from perhop.core.token import BoundToken
from perhop.errors import StreamSuperseded
from perhop.rules.revocation import Revocations


class Watcher(Protocol):
    def look(self) -> None:
        """Something was revoked, or stops. Must not raise."""
        ...


class RevocationWatch:
    """Revocations that open calls are held to. Whoever adds to them calls `notify`."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._watchers: set[Watcher] = set()
        self.begin: Callable[[Watcher], None] = self._watchers.add
        """Let it look at every `notify`."""
        self.end: Callable[[Watcher], None] = self._watchers.discard
        """It does not look any more."""
        self._superseded = ""
        self._time_is_up = False

    def check(self, bound: BoundToken) -> None:
        """Refuse a revoked token.

        Raises: TokenRevoked
        """
        self._revocations.check(bound.token)

    def check_stop(self, *, standing: bool) -> None:
        """Refuse to go on: at once with a stream that has no end of its own, at last with every answer.

        Raises: StreamSuperseded
        """
        if self._time_is_up or (standing and self._superseded):
            raise StreamSuperseded(self._superseded or "the gateway stops")

    def supersede(self, why: str) -> None:
        """No call begins here any more: answers may end, and streams without an end are cut."""
        self._superseded = why
        self.notify()

    def stop_all(self) -> None:
        """Answers have had their time, too."""
        self._time_is_up = True
        self.notify()

    def notify(self) -> None:
        """Let everyone look: something was revoked."""
        for watcher in tuple(self._watchers):
            watcher.look()
