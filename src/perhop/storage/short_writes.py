"""Short transactions of `perhop.db`, those that whoever asks for a token waits for: many share one commit.

What has piled up while the last commit was on its way to the disk is the next one; nobody waits for a window of time.
Each stands in a savepoint of its own, so that one that fails takes no other along, and each hears of its outcome only
when the commit of all has reached the disk. A connection and a thread of their own: what is done is a function over the
plain driver, so that it costs one change of thread, whatever it does.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from sqlalchemy import ClauseElement
from sqlalchemy.dialects import sqlite

from perhop.errors import StorageUnavailable
from perhop.storage.sqlite import BUSY_SECONDS, PRAGMAS

_T = TypeVar("_T")

Work = Callable[[sqlite3.Connection], _T]
"""What is done in one savepoint; what it raises takes it back. Runs on the thread of short writes."""

AT_ONCE = 256
"""In one commit: nobody waits for more than these."""


def as_sql(statement: ClauseElement) -> str:
    """A statement as text for the plain driver, its parameters by name. For columns of text and whole numbers only."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


def one_row(cursor: sqlite3.Cursor) -> Any:
    """The first row, its columns by name; None if there is none."""
    row = cursor.fetchone()
    names = (column[0] for column in cursor.description)
    return None if row is None else SimpleNamespace(**dict(zip(names, row, strict=True)))


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


class ShortWrites:
    """The short transactions of one open database. `turn` keeps them apart from its other ones."""

    def __init__(self, path: Path, turn: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._path = path
        self._turn = turn
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="short-writes")
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    async def run(self, work: Work[_T]) -> _T:
        """Do this in a transaction that it may share with others; on disk when it returns.

        Whoever goes away meanwhile leaves it to be done.

        Raises: StorageUnavailable, and what the work raises
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[_T] = loop.create_future()
        self._waiting.append((work, outcome))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        return await outcome

    async def read(self, work: Work[_T]) -> _T:
        """Read on the same thread; it waits for no other process, and for no turn.

        Raises: StorageUnavailable, and what the work raises
        """
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, work)

    async def aclose(self) -> None:
        """Let what was begun reach the disk, then close."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._forget_connection)
        self._is_closed = True
        self._thread.shutdown()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StorageUnavailable("the database is closed")

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        taken: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                works = [work for work, _ in taken]
                try:
                    async with self._turn():
                        outcomes = await loop.run_in_executor(self._thread, self._transact, works)
                except Exception as error:
                    outcomes = [_Failed(error) for _ in works]
                for (_, future), outcome in zip(taken, outcomes, strict=True):
                    _tell(future, outcome)
        finally:
            self._writing = None
            for _, future in (*taken, *self._waiting):  # none is left but where this task was ended
                future.cancel()

    def _transact(self, works: Sequence[Work[Any]]) -> list[Any]:
        """On the thread: all of them and one commit. Raises: StorageUnavailable, and then none is done."""
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_run(connection, work) for work in works]
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._forget_connection()
            raise _unavailable(error) from error
        except BaseException:
            self._forget_connection()
            raise
        return outcomes

    def _read(self, work: Work[_T]) -> _T:
        """On the thread. Raises: StorageUnavailable, and what the work raises."""
        try:
            connection = self._connected()
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError) as error:
            self._forget_connection()
            raise _unavailable(error) from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            # `mode=rw` because SQLite would otherwise make an empty file where one vanished.
            where = f"{self._path.absolute().as_uri()}?mode=rw"
            connection = sqlite3.connect(where, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            self._connection = connection
        return self._connection

    def _forget_connection(self) -> None:
        """What is open on it is taken back; the next transaction opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _run(connection: sqlite3.Connection, work: Work[Any]) -> Any:
    """One of them. Raises: sqlite3.Error, where SQLite has given up the transaction of all."""
    connection.execute("SAVEPOINT one")
    try:
        done = work(connection)
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return _Failed(_unavailable(error) if isinstance(error, sqlite3.Error) else error)
    connection.execute("RELEASE one")
    return done


def _unavailable(error: Exception) -> StorageUnavailable:
    unavailable = StorageUnavailable(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    unavailable.__cause__ = error
    return unavailable


def _tell(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return  # whoever asked has gone away
    if isinstance(outcome, _Failed):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)
