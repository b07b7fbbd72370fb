"""The journal as it was at one moment, for questions that must all be answered from the same records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from perhop.storage.journal_schema import fault
from perhop.storage.journal_tally import JournalTallies


class JournalStill(JournalTallies):
    """A TallyReader that sees what was there at its first question, while the writer goes on.

    It keeps the writer's log from shrinking for as long as it lives, so that should be short.
    """

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._opening:
                if self._opened is None:
                    self._opened = self._open(immutable=not self._has_log())
                    self._opened.execute("BEGIN")
                connection = self._opened
            yield connection
        except sqlite3.Error as error:
            raise fault(error, self._path) from error
