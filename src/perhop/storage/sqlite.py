"""What every connection to an SQLite file gets: durability, and transactions that begin where they are written."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

READING = "perhop_reading"
"""Execution option of transactions that only read."""

BUSY_SECONDS = 5
"""How long a statement waits for another process's transaction before the database counts as not answering."""


PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


def set_up(engine: Engine) -> None:
    """Make every connection of this engine sync at each commit, and begin transactions as they are meant."""
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)


def _prepare_connection(connection: Any, _record: object) -> None:
    # The driver's own transaction control begins late, and never for reads or table changes: ours is `_begin`.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that starts as a reader and then writes fails busy without waiting.
    reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
