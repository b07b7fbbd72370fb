"""Reading the journal's file: queries while it is being written, and the whole file for verification. Never writes.

Statements are put together from the constant expressions of `journal_schema`; values are always bound.
"""
# ruff: noqa: S608 - see the line above

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from perhop.errors import NotFound
from perhop.journal.canonical import format_time
from perhop.journal.query import Entry, Filter, PermittedToken
from perhop.journal.record import Event
from perhop.storage.journal_schema import DATA_PLANE, FACETS, IN_AUD, OUT_AUD, check_header, fault

BUSY_SECONDS = 5.0

_PAGE = 500
"""Records read at a time. A reader holds no transaction between two pages: a slow one must not keep the writer's log
from shrinking. Records are never changed or deleted, so what the first look found stays true."""

_SELECT = "SELECT seq, CAST(body AS BLOB) FROM record"


class _JournalFile:
    """One file, opened at the first question, so that a file that cannot be read is an answer, too.

    Raises: NotFound
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise NotFound(f"there is no journal `{path}`", advice="check the path")
        self._path = path
        self._opening = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def close(self) -> None:
        """Let the file go."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _has_log(self) -> bool:
        """True beside a journal in use, or stopped by a crash: its write-ahead log belongs to it.

        Without one the file is whole, and is opened as `immutable`, which keeps SQLite from making files beside it.
        """
        return self._path.with_name(f"{self._path.name}-wal").exists()

    def _open(self, *, immutable: bool) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            check_header(connection, self._path)
        except BaseException:  # whatever it is, the file must be let go
            connection.close()
            raise
        return connection


class JournalQueries(_JournalFile):
    """A JournalReader over a journal, or a copy of one. May be used from several threads."""

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._opening:
                if self._opened is None and self._has_log():
                    self._opened = self._open(immutable=False)
                connection = self._opened
            if connection is not None:
                yield connection
                return
            # An immutable view would never see what a writer adds later, so it serves one question only.
            with closing(self._open(immutable=True)) as view:
                yield view
        except sqlite3.Error as error:
            raise fault(error, self._path) from error

    def size(self) -> int:
        with self._reading() as connection:
            return int(connection.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()[0])

    def find(self, wanted: Filter) -> Iterator[Entry]:
        where, values = conditions(wanted)
        return self._entries(f"SELECT seq FROM record WHERE {where}", values)

    def last(self, wanted: Filter) -> Entry | None:
        """The newest matching record."""
        where, values = conditions(wanted)
        with self._reading() as connection:
            row = connection.execute(f"{_SELECT} WHERE {where} ORDER BY seq DESC LIMIT 1", values).fetchone()
        return _entry(*row) if row is not None else None

    def tail(self, count: int) -> Sequence[Entry]:
        with self._reading() as connection:
            rows = connection.execute(f"{_SELECT} ORDER BY seq DESC LIMIT ?", (max(0, count),)).fetchall()
        return [_entry(*row) for row in reversed(rows)]

    def record(self, seq: int) -> Entry | None:
        with self._reading() as connection:
            row = connection.execute(f"{_SELECT} WHERE seq = ?", (seq,)).fetchone()
        return _entry(*row) if row is not None else None

    def permit_by_out_jti(self, jti: str) -> PermittedToken | None:
        return next(self._permitted("out_jti", "= ?", jti), None)

    def children_of(self, jti: str) -> Sequence[PermittedToken]:
        return list(self._permitted("in_jti", "= ?", jti))

    def permitted_since(self, since: float) -> Iterator[PermittedToken]:
        return self._permitted("time", ">= ?", format_time(since))

    def unfinished(self, *, since: str | None = None) -> Iterator[Entry]:
        ended = f"SELECT 1 FROM record WHERE {FACETS['call_id']} = permit.call_id AND {_is_event(Event.CALL_ENDED)}"
        asked = f"seq, {FACETS['call_id']} AS call_id, {DATA_PLANE} AS data_plane"
        permits = f"SELECT {asked} FROM record WHERE {FACETS['event']} = ?"
        if since is not None:
            permits += f" AND +{FACETS['time']} >= ?"
        return self._entries(
            f"SELECT seq FROM ({permits}) AS permit WHERE NOT EXISTS ({ended}) AND data_plane IS NULL",
            [Event.CALL_PERMITTED.value, *([since] if since is not None else [])],
        )

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        with self._reading() as connection:
            rows = connection.execute("SELECT hash FROM leaf WHERE seq > ? AND seq <= ? ORDER BY seq", (start, stop))
            for (leaf,) in rows:
                yield bytes(leaf)

    def last_checkpoint(self) -> str | None:
        with self._reading() as connection:
            row = connection.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        return str(row[0]) if row is not None else None

    def _permitted(self, facet: str, comparison: str, value: str) -> Iterator[PermittedToken]:
        numbers = f"SELECT seq FROM record WHERE {FACETS[facet]} {comparison} AND {_is_event(Event.CALL_PERMITTED)}"
        found = self._entries(numbers, [value])
        return (token for token in map(PermittedToken.of, found) if token is not None)

    def _entries(self, numbers: str, values: Sequence[Any]) -> Iterator[Entry]:
        """The records whose numbers this statement selects, in order."""
        with self._reading() as connection:
            # Sorted here: asked for the order, SQLite would rather read the whole journal than use an index on time.
            seqs = array("q", sorted(seq for (seq,) in connection.execute(numbers, values)))
        for start in range(0, len(seqs), _PAGE):
            page = seqs[start : start + _PAGE]
            marks = ",".join("?" * len(page))
            with self._reading() as connection:
                rows = connection.execute(f"{_SELECT} WHERE seq IN ({marks}) ORDER BY seq", page.tolist()).fetchall()
            yield from (_entry(*row) for row in rows)


class JournalSnapshot(_JournalFile):
    """A StoredJournal: the whole file as it was at the first question, while the writer may go on."""

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

    def rows(self) -> Iterator[tuple[int, bytes, bytes | None]]:
        with self._reading() as connection:
            yield from connection.execute(
                "SELECT record.seq, CAST(body AS BLOB), CAST(hash AS BLOB) FROM record"
                " LEFT JOIN leaf ON leaf.seq = record.seq ORDER BY record.seq"
            )

    def notes(self) -> Sequence[tuple[int, str]]:
        with self._reading() as connection:
            rows = connection.execute("SELECT size, CAST(note AS BLOB) FROM checkpoint ORDER BY size").fetchall()
        return [(size, note.decode("utf-8", "replace")) for size, note in rows]

    def leaf_count(self) -> int:
        with self._reading() as connection:
            return int(connection.execute("SELECT coalesce(max(seq), 0) FROM leaf").fetchone()[0])


def copy_journal(path: Path, target: Path) -> None:
    """Copy a journal, as of now and whole, while it may be written; for whoever keeps or examines a copy.

    Raises: NotFound, JournalUnavailable, JournalDamaged
    """
    if not path.is_file():
        raise NotFound(f"there is no journal `{path}`", advice="check the path")
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error as error:
        raise fault(error, path) from error


def conditions(wanted: Filter) -> tuple[str, list[Any]]:
    """The WHERE clause of a filter, and its values. Every expression is the text of an index."""
    exact = {
        "txn": wanted.txn,
        "event": wanted.event,
        "reason": wanted.reason,
        "client": wanted.client,
        "call_id": wanted.call_id,
    }
    parts: list[tuple[str, list[Any]]] = [
        (f"{FACETS[name]} = ?", [value]) for name, value in exact.items() if value is not None
    ]
    if wanted.first is not None:
        parts.append(("seq >= ?", [wanted.first]))
    if wanted.last is not None:
        parts.append(("seq <= ?", [wanted.last]))
    if wanted.jti is not None:
        parts.append((f"({FACETS['in_jti']} = ? OR {FACETS['out_jti']} = ?)", [wanted.jti] * 2))
    if wanted.resource is not None and "://" in wanted.resource:
        parts.append((f"({IN_AUD} = ? OR {OUT_AUD} = ?)", [wanted.resource] * 2))
    elif wanted.resource is not None:
        parts.append((f"{FACETS['resource']} = ?", [wanted.resource]))
    if wanted.since is not None:
        parts.append((f"{FACETS['time']} >= ?", [wanted.since]))
    if wanted.until is not None:
        parts.append((f"{FACETS['time']} < ?", [wanted.until]))
    where = " AND ".join(part for part, _ in parts) or "TRUE"
    return where, [value for _, values in parts for value in values]


def _is_event(event: Event) -> str:
    """A condition on the event that is not looked up by index: too many records share one."""
    return f"+{FACETS['event']} = '{event.value}'"


def _entry(seq: int, body: bytes) -> Entry:
    return Entry.of(seq, body.decode("utf-8", "replace"))
