"""The feed of one export: records in their order, each at least once, from where the last one ended.

A cursor moves only after the lines before it are safe at their place. After a crash some lines may come twice; the
number of the record is in each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from perhop.errors import ExportFailed
from perhop.journal.query import Entry, Filter, JournalReader

BATCH = 500


class Place(Protocol):
    """Where lines go. Both verbs raise ExportFailed."""

    def write(self, lines: Sequence[str]) -> None:
        """Add whole lines; safe there when it returns."""
        ...


class Cursor(Protocol):
    """How far an export got. Both verbs raise ExportFailed."""

    def load(self) -> int:
        """The last record that is safe at its place; 0 before the first."""
        ...

    def save(self, seq: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One export: what is read, how it is written, where it goes, and how far it got."""

    reader: JournalReader
    render: Callable[[Entry], str]
    place: Place
    cursor: Cursor

    def pump(self) -> int:
        """Export what has come since the last time, a batch at the most; returns how many records still wait.

        Raises: ExportFailed, JournalDamaged, JournalUnavailable
        """
        done, size, base = self.cursor.load(), self.reader.size(), self.reader.base().frontier.size
        if 0 < done < base:
            raise ExportFailed(
                f"records {done + 1} to {base} are archived, and were not exported",
                advice="export them by `perhop journal export --journal SEGMENT` with the same cursor; then it goes on",
            )
        # An export that has taken nothing yet begins with what the file holds.
        done = max(done, base)
        if done > size:
            raise ExportFailed(
                f"record {done} was exported, and the journal has {size}: it was cut, or is an older copy",
                advice="verify it against a checkpoint that was kept elsewhere; then remove the cursor to export anew",
            )
        upto = min(done + BATCH, size)
        if upto > done:
            entries = self.reader.find(Filter(first=done + 1, last=upto))
            self.place.write([self.render(entry) for entry in entries])
            self.cursor.save(upto)
        return size - upto
