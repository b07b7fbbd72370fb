"""The facets in the journal's file: written beside each record, read back as they were meant, made anew as a whole."""
# ruff: noqa: S608 - column names are those of `Facets`; values are always bound

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from perhop.journal.facets import KIND, Facets, facets_of, parse_body
from perhop.storage.journal_rows import insert_rows
from perhop.storage.journal_schema import (
    BASE_SINCE,
    BASE_TABLE,
    EMPTY_BASE,
    FACET_INDEXES,
    FACET_TABLES,
    FACETS_SINCE,
    HEADER,
    TERMS,
)

MAX_KEPT = 64 * 1024
"""Numbers that are remembered, of terms and kinds together."""

_PAGE = 1000
_TOLD_EVERY = 100_000

_OWN = len(Facets._fields) - len(KIND)
assert Facets._fields[_OWN - len(TERMS) : _OWN] == TERMS
_FIND_KIND = f"SELECT id FROM kind WHERE {' AND '.join(f'{name} IS ?' for name in KIND)}"
_ADD_KIND = f"INSERT INTO kind ({', '.join(KIND)}) VALUES (?{', ?' * (len(KIND) - 1)}) RETURNING id"

SELECTED = ", ".join(f"facet.{name}" for name in (*Facets._fields[:_OWN], "kind"))
"""The columns that `meant` reads."""

_log = logging.getLogger("perhop.journal")


class FacetWriter:
    """Writes facets through one connection, and remembers the numbers of terms and kinds while that lives."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._numbers: dict[object, int] = {}

    def add(self, facets: Iterable[tuple[int, Facets]]) -> None:
        """Write the facets of these records, in the transaction that is open."""
        insert_rows(self._connection, "facet", [self._row(seq, each) for seq, each in facets])

    def _row(self, seq: int, facets: Facets) -> tuple[object, ...]:
        get, kind = self._numbers.get, facets[_OWN:]
        person, network, user_agent = facets[_OWN - 3 : _OWN]
        return (
            seq,
            *facets[: _OWN - 3],
            None if person is None else get(person) or self._remember(person, self._term),
            None if network is None else get(network) or self._remember(network, self._term),
            None if user_agent is None else get(user_agent) or self._remember(user_agent, self._term),
            get(kind) or self._remember(kind, self._kind),
        )

    def _remember(self, named: object, stored: Callable[[Any], int]) -> int:
        if len(self._numbers) >= MAX_KEPT:
            self._numbers.clear()
        number = self._numbers[named] = stored(named)
        return number

    def _term(self, text: str) -> int:
        return self._one("SELECT id FROM term WHERE text = ?", (text,)) or self._new(
            "INSERT INTO term (text) VALUES (?) RETURNING id", (text,)
        )

    def _kind(self, kind: tuple[object, ...]) -> int:
        return self._one(_FIND_KIND, kind) or self._new(_ADD_KIND, kind)

    def _one(self, statement: str, values: tuple[object, ...]) -> int | None:
        row = self._connection.execute(statement, values).fetchone()
        return None if row is None else int(row[0])

    def _new(self, statement: str, values: tuple[object, ...]) -> int:
        return int(self._connection.execute(statement, values).fetchall()[0][0])


class FacetReader:
    """Reads rows of `facet` as what they stand for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._text_of = lru_cache(maxsize=MAX_KEPT)(self._term)
        self._kind_of = lru_cache(maxsize=MAX_KEPT)(self._kind)

    def meant(self, row: Sequence[object]) -> Facets | None:
        """The facets of a row with the columns `SELECTED`; None for a row that no writer of ours left."""
        *own, person, network, user_agent, number = row
        kind = self._kind_of(number)
        if kind is None:
            return None
        for each in (person, network, user_agent):
            text = None if each is None else self._text_of(each)
            if text is None and each is not None:
                return None
            own.append(text)
        # Whatever types somebody stored in the file: they are compared, or shown.
        return Facets(*own, *kind)  # type: ignore[arg-type]

    def _term(self, number: object) -> object:
        row = self._connection.execute("SELECT text FROM term WHERE id = ?", (number,)).fetchone()
        return None if row is None else row[0]

    def _kind(self, number: object) -> tuple[object, ...] | None:
        row = self._connection.execute(f"SELECT {', '.join(KIND)} FROM kind WHERE id = ?", (number,)).fetchone()
        return None if row is None else tuple(row)


def bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    """Give a file of an earlier version what it lacks, in one transaction: all of it, or nothing has changed."""
    connection.execute("BEGIN IMMEDIATE")
    if version < FACETS_SINCE:
        _make_facets_anew(connection)
    if version < BASE_SINCE:
        has_base = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'base'").fetchone()
        for statement in (EMPTY_BASE,) if has_base else (BASE_TABLE, EMPTY_BASE):
            connection.execute(statement)
    for statement in HEADER:
        connection.execute(statement)
    connection.execute("COMMIT")


def _make_facets_anew(connection: sqlite3.Connection) -> None:
    """Make every facet from the records, in the transaction that is open."""
    old = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'record\\_%' ESCAPE '\\'"
    )
    for (name,) in old.fetchall():
        connection.execute('DROP INDEX "{}"'.format(name.replace('"', '""')))
    for table in ("facet", "kind", "term"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in FACET_TABLES:
        connection.execute(statement)
    size = int(connection.execute("SELECT count(*) FROM record").fetchone()[0])
    _log.info("the journal is brought up to date: %d records", size)
    writer = FacetWriter(connection)
    done, last = 0, None
    while page := _page(connection, after=last):
        writer.add((seq, facets_of(parse_body(body))) for seq, body in page)
        last = page[-1][0]
        done += len(page)
        if done % _TOLD_EVERY == 0:
            _log.info("%d of %d records done", done, size)
    for statement in FACET_INDEXES:
        connection.execute(statement)


def _page(connection: sqlite3.Connection, *, after: int | None) -> list[tuple[int, bytes]]:
    where, values = ("", []) if after is None else ("WHERE seq > ?", [after])
    statement = f"SELECT seq, CAST(body AS BLOB) FROM record {where} ORDER BY seq LIMIT {_PAGE}"
    return connection.execute(statement, values).fetchall()
