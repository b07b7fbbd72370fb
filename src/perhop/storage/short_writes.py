"""Short transactions of `perhop.db`, those that whoever asks for a token waits for: many share one commit.

What has piled up while the last commit was on its way to the disk is the next one; nobody waits for a window of time.
Each stands in a savepoint of its own, so that one that fails takes no other along, and each hears of its outcome only
when the commit of all has reached the disk. A connection and a thread of their own: what is done is a function over the
plain driver, so that it costs one change of thread, whatever it does. Rows that are only added go in together, with one
statement; those who read at the same time share a change of thread and the state that they see.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from sqlalchemy import ClauseElement
from sqlalchemy.dialects import sqlite

from perhop.errors import StorageUnavailable
from perhop.journal.scheduling import wait_for_the_core
from perhop.storage.journal_rows import insert_rows
from perhop.storage.sqlite import BUSY_SECONDS, PRAGMAS

_T = TypeVar("_T")

Work = Callable[[sqlite3.Connection], _T]
"""What is done in one savepoint; what it raises takes it back. Runs on the thread of short writes."""

AT_ONCE = 256
"""In one commit: nobody waits for more than these."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """A work that does nothing but add one row. `into` is the table with its columns, as SQL: `name (a, b)`.

    Does not give anything back.
    """

    into: str
    values: tuple[object, ...]

    def __call__(self, connection: sqlite3.Connection) -> None:
        """By itself. Raises: sqlite3.Error."""
        connection.execute(f"INSERT INTO {self.into} VALUES (?{', ?' * (len(self.values) - 1)})", self.values)  # noqa: S608 - `into` is code of ours, values are bound


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


_Queue = list[tuple[Work[Any], asyncio.Future[Any]]]


async def _serve(queue: _Queue, do: Callable[[Sequence[Work[Any]]], Awaitable[Sequence[Any]]]) -> None:
    """Do what stands in the queue, as much of it as may be at once, until it is empty; and tell each who waits."""
    taken: _Queue = []
    try:
        while queue:
            taken = queue[:AT_ONCE]
            del queue[:AT_ONCE]
            try:
                outcomes = await do([work for work, _ in taken])
            except Exception as error:
                outcomes = [_Failed(error) for _ in taken]
            for (_, future), outcome in zip(taken, outcomes, strict=True):
                _tell(future, outcome)
    finally:
        for _, future in (*taken, *queue):  # none is left but where this task was ended
            future.cancel()
        queue.clear()


class ShortWrites:
    """The short transactions of one open database. `turn` keeps them apart from its other ones."""

    def __init__(self, path: Path, turn: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._path = path
        self._turn = turn
        self._waiting: _Queue = []
        self._writing: asyncio.Task[None] | None = None
        self._readers: _Queue = []
        self._reading: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="short-writes", initializer=wait_for_the_core)
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
        """Read on the same thread, in a transaction that it may share with others who read; it waits for no other
        process, and for no turn.

        Sees all that was on disk when it was asked.

        Raises: StorageUnavailable, and what the work raises
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[_T] = loop.create_future()
        self._readers.append((work, outcome))
        if self._reading is None:
            self._reading = loop.create_task(self._read())
        return await outcome

    async def aclose(self) -> None:
        """Let what was begun reach the disk, then close."""
        begun = [each for each in (self._writing, self._reading) if each is not None]
        if begun:
            await asyncio.wait(begun)
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._forget_connection)
        self._is_closed = True
        self._thread.shutdown()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StorageUnavailable("the database is closed")

    async def _write(self) -> None:
        try:
            await _serve(self._waiting, self._write_some)
        finally:
            self._writing = None

    async def _read(self) -> None:
        try:
            await _serve(self._readers, self._read_some)
        finally:
            self._reading = None

    async def _write_some(self, works: Sequence[Work[Any]]) -> Sequence[Any]:
        async with self._turn():
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, works)

    async def _read_some(self, works: Sequence[Work[Any]]) -> Sequence[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, works)

    def _transact(self, works: Sequence[Work[Any]]) -> list[Any]:
        """On the thread: all of them and one commit. Raises: StorageUnavailable, and then none is done."""
        rows: dict[str, list[tuple[object, ...]]] = {}
        for work in works:
            if isinstance(work, NewRow):
                rows.setdefault(work.into, []).append(work.values)
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            are_in = _add(connection, rows)
            if not are_in:
                connection.execute("BEGIN IMMEDIATE")
            outcomes = [None if are_in and isinstance(work, NewRow) else _run(connection, work) for work in works]
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._forget_connection()
            raise _unavailable(error) from error
        except BaseException:
            self._forget_connection()
            raise
        return outcomes

    def _look(self, works: Sequence[Work[Any]]) -> list[Any]:
        """On the thread: what each of them saw, or how it failed."""
        outcomes = [self._look_once(work) for work in works]
        connection = self._connection
        try:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._forget_connection()
        return outcomes

    def _look_once(self, work: Work[Any]) -> Any:
        try:
            connection = self._connected()
            if not connection.in_transaction:
                connection.execute("BEGIN")
            return work(connection)
        except (sqlite3.Error, OSError) as error:
            self._forget_connection()  # those behind it try with another
            return _Failed(_unavailable(error))
        except Exception as error:
            return _Failed(error)

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


def _add(connection: sqlite3.Connection, rows: dict[str, list[tuple[object, ...]]]) -> bool:
    """Add rows, many with one statement, in the transaction that is open.

    False where one of them cannot stand: then that transaction is over, and each is to be tried by itself.
    """
    try:
        for into, some in rows.items():
            insert_rows(connection, into, some)
    except sqlite3.IntegrityError:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return False
    return True


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
