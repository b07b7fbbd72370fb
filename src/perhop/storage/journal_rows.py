"""Rows of the journal's tables, many with one statement.

Python's `sqlite3` lets the other threads run at every step of a statement, and then waits until it may go on: beside a
busy event loop that costs more than the row. A statement of many rows is one step.
"""
# ruff: noqa: S608 - names of tables are those of the schema; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

_SIZES = (128, 32, 8, 1)
"""Rows of one statement: few sizes, so that SQLite's parsed statements are found again."""


def insert_rows(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert whole rows, in the transaction that is open."""
    at, left = 0, len(rows)
    for size in _SIZES:
        while left >= size:
            some = rows if left == size == len(rows) else rows[at : at + size]
            connection.execute(_statement(table, len(some[0]), size), tuple(chain.from_iterable(some)))
            at, left = at + size, left - size


@lru_cache(maxsize=64)
def _statement(table: str, columns: int, size: int) -> str:
    row = f"(?{', ?' * (columns - 1)})"
    # A row that cannot stand takes the whole transaction with it, as whoever commits wants it. Otherwise SQLite would
    # keep what it needs to take this one statement back, in a file.
    return f"INSERT OR ROLLBACK INTO {table} VALUES {row}{f', {row}' * (size - 1)}"
