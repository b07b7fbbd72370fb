"""The journal's witness: who sees every record on its way, and how that went, to measure and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from perhop.journal.record import Record

Told = Callable[[bool], None]
"""Called in the event loop, once, when a record is on disk (True) or could not be written (False)."""


class Witness(Protocol):
    """Sees every record on its way, for whoever measures. Must neither block nor raise."""

    def offered(self, record: Record) -> Told:
        """Somebody appends this record, in the task that now runs; what is returned is told how it went."""
        ...

    def counted(self, record: Record) -> None:
        """A refusal that is not recorded singly."""
        ...


class Unwatched:
    """A witness that looks away."""

    def offered(self, record: Record) -> Told:
        del record
        return lambda _: None

    def counted(self, record: Record) -> None:
        del record
