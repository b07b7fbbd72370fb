"""The part of time that a journal's file does not hold any more, because it is archived."""

from __future__ import annotations

from dataclasses import dataclass

from perhop.journal.archived import Archived
from perhop.journal.query import Filter, JournalReader
from perhop.journal.record import Event

MOST_FILES = 3
"""Files that are named; whoever has more of them knows where they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedPart:
    """So many records are archived, from before `until`; `files` are the latest of those that the file names."""

    records: int
    until: str
    files: tuple[str, ...]


def archived_part(reader: JournalReader) -> ArchivedPart | None:
    """What of the journal is not in this file; None if it holds all of it. Checks nothing."""
    records = reader.base().frontier.size
    if records == 0:
        return None
    first = reader.record(records + 1)
    said = (Archived.of(each.fields) for each in reader.find(Filter(event=Event.JOURNAL_ARCHIVED.value)))
    files = [each.file for each in said if each is not None and each.last <= records]
    until = first.text("time") if first is not None else None
    return ArchivedPart(records=records, until=until or "now", files=tuple(files[-MOST_FILES:]))
