"""Reports on disk, until the authorization server's journal has them: a file of this machine, for all workers.

One thread writes. It commits what has piled up, so that many calls share one wait for the disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from perhop.errors import JournalUnavailable, SettingsError
from perhop.resource_server.private_file import make_private

MAX_WAITING = 1_000_000
"""Reports in the file, those that were set aside among them; with so many a server serves no more calls."""

MAX_BATCH = 1024
BUSY_SECONDS = 5.0
APPLICATION_ID = 0x50485231
"""Says in the file's header that this holds reports for Perhop ("PHR1")."""

Found = TypeVar("Found")

_log = logging.getLogger("perhop.resource_server")

_MAKE = """
CREATE TABLE IF NOT EXISTS report (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS set_aside (number INTEGER PRIMARY KEY, body TEXT NOT NULL, why TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS set_aside_numbers ON set_aside (number);
CREATE TABLE IF NOT EXISTS turn (one INTEGER PRIMARY KEY CHECK (one = 1), holder TEXT NOT NULL, until REAL NOT NULL);
INSERT OR IGNORE INTO turn VALUES (1, '', 0);
"""

_leaving = threading.Lock()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A report that is not delivered."""

    number: int
    body: str


@dataclass(frozen=True, slots=True)
class _Written:
    """Who waits for a report to be on disk; nobody waits for one of a refusal."""

    body: str
    loop: asyncio.AbstractEventLoop | None = None
    future: asyncio.Future[None] | None = None


class ReportsFile:
    """One file. Verbs that are not `async` block, and are called in a thread."""

    def __init__(self, path: str | Path, *, max_waiting: int = MAX_WAITING) -> None:
        self.path = Path(path)
        self._max_waiting = max_waiting
        self._has_complained = False
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[_Written] = []
        self._in_hand = 0
        self._offered = 0
        self._thread: threading.Thread | None = None
        self._closing = False  # and no longer when somebody offers again
        # Guards the connection, which the writing thread and the delivering one share.
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._room = 0
        self._process = os.getpid()

    def open(self) -> None:
        """Make the file if it is not there, for its owner alone.

        Raises: SettingsError
        """
        self._leave_to_parent()
        try:
            with self._turn:
                self._connect()
        except (sqlite3.Error, OSError) as error:
            raise SettingsError(
                f"`{self.path}` cannot hold reports: {error}", advice="name a file in a folder of the server"
            ) from error

    async def write(self, body: str) -> None:
        """On disk when it returns.

        Raises: JournalUnavailable
        """
        loop = asyncio.get_running_loop()
        waiting = _Written(body, loop, loop.create_future())
        self._offer(waiting)
        assert waiting.future is not None
        await waiting.future

    def offer(self, body: str) -> None:
        """Written soon, and nobody waits.

        Raises: JournalUnavailable, for a file that is full
        """
        self._offer(_Written(body))

    def oldest(self, count: int, *, max_bytes: int) -> Sequence[Waiting]:
        """The first that are not delivered: so many, and so many bytes, at most; one at least if there is any."""
        rows = self._carry_out(
            lambda connection: connection.execute(
                "SELECT number, body FROM report ORDER BY number LIMIT ?", (count,)
            ).fetchall()
        )
        taken: list[Waiting] = []
        size = 0
        for number, body in rows:
            size += len(body.encode()) + 1
            if taken and size > max_bytes:
                break
            taken.append(Waiting(number, body))
        return taken

    def delivered(self, reports: Sequence[Waiting], *, refused: Mapping[int, str]) -> None:
        """These need not be sent again; those that were refused are kept aside, for whoever looks after the server."""

        def settle(connection: sqlite3.Connection) -> None:
            aside = [(each.number, each.body, refused[each.number]) for each in reports if each.number in refused]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO set_aside VALUES (?, ?, ?)", aside)
            connection.executemany("DELETE FROM report WHERE number = ?", [(each.number,) for each in reports])
            connection.execute("COMMIT")
            self._measure(connection)

        self._carry_out(settle)

    def takes_turn(self, holder: str, *, now: float, seconds: float) -> bool:
        """True if this holder delivers for all workers from now on; another one takes over when the time is up."""

        def take(connection: sqlite3.Connection) -> bool:
            took = connection.execute(
                "UPDATE turn SET holder = ?, until = ? WHERE holder = ? OR until < ? OR until > ?",
                (holder, now + seconds, holder, now, now + 10 * seconds),
            )
            return took.rowcount == 1

        return self._carry_out(take)

    def leaves_turn(self, holder: str) -> None:
        """Somebody else may deliver now."""
        self._carry_out(lambda connection: connection.execute("UPDATE turn SET until = 0 WHERE holder = ?", (holder,)))

    def waiting(self) -> int:
        """So many reports are not delivered, those that are not written yet among them."""
        with self._changed:
            unwritten = len(self._queue) + self._in_hand
        return self._carry_out(_count) + unwritten

    def close(self) -> None:
        """Write what was offered, and let the file go. The next use opens it again, also while this goes on."""
        if self._process != os.getpid():
            return  # all of it is the parent's
        with self._changed:
            offered, self._closing = self._offered, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_written(offered) and (self._thread is None or not self._closing))
        with self._turn:
            self._disconnect()

    # --- the writing thread ------------------------------------------------------------------------------------------

    def _offer(self, waiting: _Written) -> None:
        self._leave_to_parent()
        with self._changed:
            if len(self._queue) >= 16 * MAX_BATCH:
                raise JournalUnavailable("too many reports wait for the disk")
            if self._thread is None:
                self._thread = self._started()
            self._queue.append(waiting)
            self._offered += 1
            self._closing = False
            self._changed.notify_all()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="perhop-reports", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise JournalUnavailable(f"nobody writes reports: {error}") from error
        return thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or bool(self._queue))
                batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
                self._in_hand = len(batch)
                if not batch:
                    # INVARIANT: under the lock, so that whoever offers sees a thread that will look again, or none.
                    self._thread = None
                    self._changed.notify_all()
                    return
            _tell(batch, self._write(batch))
            with self._changed:
                self._in_hand = 0
                self._changed.notify_all()

    def _is_written(self, offered: int) -> bool:
        """True if the first so many are on disk, or were told that they are not."""
        return self._offered - len(self._queue) - self._in_hand >= offered

    def _write(self, batch: Sequence[_Written]) -> str:
        """What went wrong, empty if all of it is on disk."""

        def insert(connection: sqlite3.Connection) -> str:
            if self._room < len(batch):
                self._measure(connection)
            if self._room < len(batch):
                return f"more than {self._max_waiting} reports wait for the authorization server, or are set aside"
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO report (body) VALUES (?)", [(each.body,) for each in batch])
            connection.execute("COMMIT")
            self._room -= len(batch)
            return ""

        try:
            return self._carry_out(insert)
        except JournalUnavailable as error:
            return error.detail
        except Exception as error:  # whatever it is, whoever waits is answered
            return f"{type(error).__name__}: {error}"

    def _carry_out(self, verb: Callable[[sqlite3.Connection], Found]) -> Found:
        """Raises: JournalUnavailable; the next verb opens the file anew."""
        self._leave_to_parent()
        with self._turn:
            try:
                return verb(self._connect())
            except (sqlite3.Error, OSError, SettingsError) as error:
                self._disconnect()
                raise JournalUnavailable(f"`{self.path}`: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            make_private(self.path)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._connection = connection
            _prepare(connection)
            self._measure(connection)
        return self._connection

    def _measure(self, connection: sqlite3.Connection) -> None:
        """How many more reports the file takes. Those that were set aside fill it until somebody has seen to them."""
        (aside,) = connection.execute("SELECT count(*) FROM set_aside").fetchone()
        self._room = self._max_waiting - _count(connection) - aside
        if aside and not self._has_complained:
            _log.error("`%s`: what was set aside counts against `max_waiting`: %d reports", self.path, aside)
        self._has_complained = aside > 0

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _leave_to_parent(self) -> None:
        """In a child that was forked, thread, queue and connection are the parent's."""
        if self._process != os.getpid():
            with _leaving:
                if self._process != os.getpid():  # else another thread of the child was first
                    self._inherited = self._connection  # neither used nor closed here
                    self._begin()


def _prepare(connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application not in (0, APPLICATION_ID):
        raise sqlite3.DatabaseError("the file is another program's")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if application == 0:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.executescript(_MAKE)


def _count(connection: sqlite3.Connection) -> int:
    """So many at most: they are delivered from the first on, so that there are hardly any gaps."""
    first, last = connection.execute("SELECT min(number), max(number) FROM report").fetchone()
    return 0 if first is None else int(last) - int(first) + 1


def _tell(batch: Sequence[_Written], problem: str) -> None:
    """Wake who waits, each in its own event loop."""
    if problem:
        _log.error("%d reports were not written: %s", len(batch), problem)
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for each in batch:
        if each.loop is not None and each.future is not None:
            loops.setdefault(each.loop, []).append(each.future)
    for loop, futures in loops.items():
        with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(_settle, futures, problem)


def _settle(futures: Sequence[asyncio.Future[None]], problem: str) -> None:
    for future in futures:
        if future.done():
            continue
        if problem:
            future.set_exception(JournalUnavailable(problem))
        else:
            future.set_result(None)
