"""The database `perhop.db`: opening it, transactions, and what its errors mean.

One transaction at a time: within the process writes queue instead of failing busy; other processes (commands) are
waited for. Every transaction that returns has reached the disk. Those of a request for a token, which are short, share
one: see `perhop.storage.short_writes`. Does not create anything: see `perhop.storage.migrate`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import URL, Row
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from perhop.errors import StorageUnavailable
from perhop.storage import short_writes
from perhop.storage.schema_revision import check_migrated
from perhop.storage.short_writes import ShortWrites
from perhop.storage.sqlite import BUSY_SECONDS, READING, set_up

_T = TypeVar("_T")

TURN_SECONDS = 2 * BUSY_SECONDS
"""How long a transaction waits for those before it."""

Work = Callable[[AsyncConnection], Awaitable[_T]]
"""What is done in one transaction."""


class Database:
    """An open `perhop.db`, for one event loop."""

    def __init__(self, engine: AsyncEngine, path: Path) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**{READING: True})
        self._running: set[asyncio.Task[Any]] = set()
        # The pool lets who comes last go before those who wait: with many at once some would wait for ever.
        self._turn = asyncio.Lock()
        self._short = ShortWrites(path, self._turn_taken)
        self.path = path

    async def write(self, work: Work[_T]) -> _T:
        """One transaction that holds the write lock from its start; committed and on disk when this returns.

        Raises: StorageUnavailable
        """
        return await self._finish(self._in_turn(self._engine, work))

    async def read(self, work: Work[_T]) -> _T:
        """One transaction that sees one state of the database and takes no lock.

        Raises: StorageUnavailable
        """
        return await self._finish(self._in_turn(self._reading, work))

    async def rows(self, statement: Any) -> list[Row[Any]]:
        """The rows of one reading statement.

        Raises: StorageUnavailable
        """

        async def work(connection: AsyncConnection) -> list[Row[Any]]:
            return list(await connection.execute(statement))

        return await self.read(work)

    async def apply(self, statement: Any) -> list[Row[Any]]:
        """Run one writing statement in a transaction of its own; the rows are those of its RETURNING.

        Raises: StorageUnavailable
        """

        async def work(connection: AsyncConnection) -> list[Row[Any]]:
            result = await connection.execute(statement)
            return list(result) if result.returns_rows else []

        return await self.write(work)

    async def write_shortly(self, work: short_writes.Work[_T]) -> _T:
        """One short transaction over the plain driver, which may share its commit with others; as durable as `write`.

        Raises: StorageUnavailable, and what the work raises
        """
        return await self._short.run(work)

    async def read_shortly(self, work: short_writes.Work[_T]) -> _T:
        """One short reading transaction over the plain driver; it sees one state of the database, and takes no lock.

        Raises: StorageUnavailable, and what the work raises
        """
        return await self._short.read(work)

    async def close(self) -> None:
        """Let running transactions end, then close the connections."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._short.aclose()
        await self._engine.dispose()

    async def _in_turn(self, engine: AsyncEngine, work: Work[_T]) -> _T:
        """Raises: StorageUnavailable."""
        async with self._turn_taken():
            return await _transact(engine, work)

    @asynccontextmanager
    async def _turn_taken(self) -> AsyncIterator[None]:
        """Raises: StorageUnavailable."""
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise StorageUnavailable(f"{TURN_SECONDS} s went by before it was this transaction's turn") from None
        try:
            yield
        finally:
            self._turn.release()

    async def _finish(self, transaction: Coroutine[Any, Any, _T]) -> _T:
        # A caller that goes away must not take the connection along half way through: the transaction ends by itself.
        running = asyncio.create_task(transaction)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)


async def _transact(engine: AsyncEngine, work: Work[_T]) -> _T:
    try:
        async with engine.begin() as connection:
            return await work(connection)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        # Only the driver's own words: the statement's text may tell what was bound to it.
        cause = getattr(error, "orig", None) or error
        raise StorageUnavailable(f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}") from error


def open_database(path: Path) -> Database:
    """Open an existing database whose schema is this version's; look once, briefly and blocking, at start.

    Raises: OperatorError
    """
    check_migrated(path)
    # `mode=rw` because SQLite would otherwise make an empty file where one vanished.
    url = URL.create("sqlite+aiosqlite", database=path.absolute().as_uri(), query={"mode": "rw", "uri": "true"})
    engine = create_async_engine(
        url,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": BUSY_SECONDS},
        hide_parameters=True,
    )
    set_up(engine.sync_engine)
    return Database(engine, path)
