"""The journal's witness: who sees every record on its way, and how that went, to measure and for nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from perhop.journal.record import Record


class Offered(NamedTuple):
    """A record on its way, since `at`; the request that it is of came in at `arrived`, if it is of one.

    Both by the clock of `time.perf_counter`.
    """

    record: Record
    at: float = 0.0
    arrived: float | None = None


class Witness(Protocol):
    """Sees every record on its way, for whoever measures. Must neither block nor raise."""

    def offered(self, record: Record) -> Offered:
        """Somebody appends this record, in the task that now runs; what is returned comes back in `told`."""
        ...

    def told(self, offered: Sequence[Offered], *, is_written: bool) -> None:
        """These are on disk, or could not be written: those of one commit, in their order. In the event loop."""
        ...

    def counted(self, record: Record) -> None:
        """A refusal that is not recorded singly."""
        ...


class Unwatched:
    """A witness that looks away."""

    def offered(self, record: Record) -> Offered:
        return Offered(record)

    def told(self, offered: Sequence[Offered], *, is_written: bool) -> None:
        del offered, is_written

    def counted(self, record: Record) -> None:
        del record
