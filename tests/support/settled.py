"""Outcomes follow their answers: whoever has just got an answer may be ahead of the record of how the call ended.

What reads a journal in a test first lets the outcomes come that are on their way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from perhop.errors import PerhopError
from perhop.journal.query import Entry
from perhop.journal.record import Event
from perhop.storage.journal_reader import JournalQueries

PATIENCE = 0.5
"""Seconds; calls that still run have no outcome, and are not waited for any longer."""

_PAUSE = 0.003


def settle(journal: Path) -> None:
    """Return when every call in this journal has an outcome, or has had time for one."""
    if not journal.is_file():
        return
    try:
        with JournalQueries(journal) as reader:
            _wait(lambda: next(iter(reader.unfinished()), None) is None)
    except PerhopError:
        return  # a file that cannot be read is for the test to find out


def settled(find: Callable[[], Iterable[Entry]]) -> list[Entry]:
    """What is found once every permit among it has its outcome, or has had time for one."""
    found: list[Entry] = []

    def is_whole() -> bool:
        found[:] = find()
        return _calls(found, Event.CALL_PERMITTED) <= _calls(found, Event.CALL_ENDED)

    _wait(is_whole)
    return found


def _calls(entries: Iterable[Entry], event: Event) -> set[object]:
    """The calls of which there is a record of this event; what another data plane carries has no outcome here."""
    return {
        entry.part("call").get("id")
        for entry in entries
        if entry.fields.get("event") == event.value and entry.part("call").get("data_plane") is None
    }


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
