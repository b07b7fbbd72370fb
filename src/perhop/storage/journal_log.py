"""Moving the journal's log into its file, beside the writer.

A commit is durable in SQLite's write-ahead log, which has to be moved into the file from time to time. SQLite would do
that inside a commit, and whoever waits for a permit just then would wait for it, too. Nothing rests on when it happens:
readers, and whoever opens the file after a crash, take the log into account.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import suppress

from perhop.journal.scheduling import wait_for_the_core

PAUSE_SECONDS = 0.5
"""From a commit to the next move: pages that every commit touches are then moved once for many commits."""

LONGEST_LOG = 16_384
"""Pages (64 MiB of 4 KiB) from which the writer moves what is left itself. A log begins anew when all of it was moved,
and beside a writer that never rests something new stands in it at the end of each move."""

_log = logging.getLogger("perhop.journal")


class LogMover:
    """One thread with a connection of its own, for as long as one connection of the writer is open.

    A move that fails is tried again, and takes nothing from anybody: the records are safe in the log.
    """

    def __init__(self, uri: str, writer: sqlite3.Connection) -> None:
        writer.execute(f"PRAGMA wal_autocheckpoint = {LONGEST_LOG}")
        self._uri = uri
        self._work = threading.Event()
        self._ends = threading.Event()
        self._connection: sqlite3.Connection | None = None
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="perhop-journal-log", daemon=True)
        self._thread.start()

    def wrote(self) -> None:
        """There is something new in the log."""
        if not self._work.is_set():
            self._work.set()

    def close(self) -> None:
        """End, and let the file go. A move that is under way is broken off, which harms nothing."""
        self._ends.set()
        self._work.set()
        connection = self._connection
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.interrupt()
        self._thread.join()

    def _run(self) -> None:
        wait_for_the_core()
        while self._work.wait() and not self._ends.wait(PAUSE_SECONDS):
            self._work.clear()  # first: what is written from here on is the next move's
            try:
                self._move()
                self._is_failing = False
            except sqlite3.Error as error:
                self._failed(error)
        self._disconnect()

    def _move(self) -> None:
        """Move what no reader needs where it is; nobody is kept from reading or writing."""
        if self._connection is None:
            self._connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _failed(self, error: sqlite3.Error) -> None:
        if not self._ends.is_set() and not self._is_failing:
            _log.warning("the journal's log could not be moved into its file yet: %s", error)
        self._is_failing = True
        self._work.set()
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
