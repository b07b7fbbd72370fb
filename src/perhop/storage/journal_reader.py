"""Reading the journal's file: queries while it is being written, and the whole file for verification. Never writes.

What was archived and waits to be swept is not seen: what is no longer verified must answer no question.

Statements are put together from the column names of `Facets`; values are always bound.
"""
# ruff: noqa: S608 - see the line above

from __future__ import annotations

import re
import sqlite3
import threading
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import closing, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Self, TypeVar

from perhop.errors import JournalDamaged, JournalUnavailable, NotFound
from perhop.journal.canonical import format_time
from perhop.journal.facets import parse_microseconds
from perhop.journal.query import Entry, Filter, JournaledToken
from perhop.journal.record import Event
from perhop.journal.store import SignedTree
from perhop.journal.tree import Frontier
from perhop.journal.verify import StoredRow
from perhop.storage.journal_facets import SELECTED, FacetReader
from perhop.storage.journal_schema import (
    BASE_SINCE,
    FACETS_SINCE,
    VERSION,
    check_header,
    fault,
    read_base,
    read_version,
    schema_of,
)

Found = TypeVar("Found")

BUSY_SECONDS = 5.0

_LOOKS = 5
"""The second look is beside the writer that disturbed the first, unless that one is gone again."""

_PAGE = 500
"""Records read at a time. A reader holds no transaction between two pages: a slow one must not keep the writer's log
from shrinking. Records are never changed, and go only when they are archived, which is told: what the first look found
stays true."""

_VIEWS = tuple(
    f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE +{key} > (SELECT size FROM main.base)"
    for table, key in (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size"))
)
"""They stand in for the tables in every question. With `+`, no index is passed over for the order of `seq`."""

_SELECT = "SELECT seq, CAST(body AS BLOB) FROM record"

_ENDED = (
    "SELECT 1 FROM facet AS outcome JOIN kind ON kind.id = outcome.kind"
    " WHERE outcome.call_id = facet.call_id AND kind.event = ?"
)


class _JournalFile(ABC):
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

    def was_disturbed(self) -> bool:
        """True if a writer came after the file was opened as one that nobody writes: then nothing that was read counts.

        Raises: JournalUnavailable
        """
        return False

    def undisturbed(self, look: Callable[[], Found]) -> Found:
        """What `look` finds in this file. If a writer came meanwhile it looks again, at the file as it is then.

        Raises: JournalUnavailable, and whatever `look` raises
        """
        for _ in range(_LOOKS):
            try:
                found = look()
            except JournalDamaged:
                if not self.was_disturbed():
                    raise
            else:
                if not self.was_disturbed():
                    return found
            self.close()
        raise JournalUnavailable(f"`{self._path}` was written while it was read: ask again")

    def _has_log(self) -> bool:
        """True beside a journal in use, or stopped by a crash: its write-ahead log belongs to it.

        Without one the file is whole, and is opened as `immutable`, which keeps SQLite from making files beside it.
        """
        return self._path.with_name(f"{self._path.name}-wal").exists()

    def _open(self, *, immutable: bool) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            self._check(connection)
        except BaseException:  # whatever it is, the file must be let go
            connection.close()
            raise
        return connection

    @abstractmethod
    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse a file that this reader does not read, and make the connection ready."""


class AtOneMoment(_JournalFile):
    """The whole file as it was at the first question, while the writer may go on."""

    _still: tuple[int, int, int] | None = None
    """What the file was when it was opened as one that nobody writes; None if it was opened beside a writer."""

    def was_disturbed(self) -> bool:
        return self._still is not None and (self._has_log() or self._still != self._stamp())

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise JournalUnavailable(f"`{self._path}` cannot be read: {error.strerror}") from error
        return found.st_ino, found.st_size, found.st_mtime_ns

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._opening:
                if self._opened is None:
                    # In this order: a writer who comes in between leaves its log, or another time.
                    stamp = self._stamp()
                    is_still = not self._has_log()
                    self._still = stamp if is_still else None
                    self._opened = self._open(immutable=is_still)
                    self._opened.execute("BEGIN")
                connection = self._opened
            yield connection
        except sqlite3.Error as error:
            raise fault(error, self._path) from error


class JournalQueries(_JournalFile):
    """A JournalReader over a journal, or a copy of one. May be used from several threads."""

    _version = VERSION

    def _check(self, connection: sqlite3.Connection) -> None:
        self._version = check_header(connection, self._path)
        if self._version >= BASE_SINCE:
            connection.execute("PRAGMA temp_store = MEMORY")
            for view in _VIEWS:
                connection.execute(view)

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
            # Past the view, which SQLite would read from its beginning.
            newest = int(connection.execute("SELECT coalesce(max(seq), 0) FROM main.record").fetchone()[0])
            return max(newest, _base_of(connection, self._version, self._path)[0].frontier.size)

    def base(self) -> SignedTree:
        with self._reading() as connection:
            return _base_of(connection, self._version, self._path)[0]

    def is_sealed(self) -> bool:
        """True for an archived segment."""
        with self._reading() as connection:
            return _base_of(connection, self._version, self._path)[1]

    def find(self, wanted: Filter) -> Iterator[Entry]:
        where, values = conditions(wanted)
        return self._entries(f"SELECT seq FROM facet WHERE {where}", values)

    def last(self, wanted: Filter) -> Entry | None:
        """The newest matching record."""
        return next(self.newest_first(wanted), None)

    def newest_first(self, wanted: Filter) -> Iterator[Entry]:
        """Matching records from the newest on, one and then many at a time: for whoever will not want them all."""
        where, values = conditions(wanted)
        before: tuple[int, ...] = ()
        for count in chain((1,), repeat(_PAGE)):
            condition = f"{where} AND (time, seq) < (?, ?)" if before else where
            newest = f"SELECT time, seq FROM facet WHERE {condition} ORDER BY time DESC, seq DESC LIMIT {count}"
            with self._reading() as connection:
                found = connection.execute(newest, (*values, *before)).fetchall()
                seqs = [seq for _, seq in found]
                bodies = dict(connection.execute(f"{_SELECT} WHERE seq IN ({marks(seqs)})", seqs).fetchall())
            yield from (_entry(seq, bodies[seq]) for seq in seqs if seq in bodies)
            if len(found) < count:
                return
            before = found[-1]

    def tail(self, count: int) -> Sequence[Entry]:
        with self._reading() as connection:
            rows = connection.execute(f"{_SELECT} ORDER BY seq DESC LIMIT ?", (max(0, count),)).fetchall()
        return [_entry(*row) for row in reversed(rows)]

    def record(self, seq: int) -> Entry | None:
        with self._reading() as connection:
            row = connection.execute(f"{_SELECT} WHERE seq = ?", (seq,)).fetchone()
        return _entry(*row) if row is not None else None

    def of_calls(self, call_ids: Sequence[str]) -> Sequence[Entry]:
        found: list[Entry] = []
        for start in range(0, len(call_ids), _PAGE):
            page = call_ids[start : start + _PAGE]
            found.extend(self._entries(f"SELECT seq FROM facet WHERE call_id IN ({marks(page)})", page))
        return found

    def token_by_jti(self, jti: str) -> JournaledToken | None:
        return next(self._tokens("out_jti = ?", jti, Event.CALL_PERMITTED, Event.TOKEN_ISSUED), None)

    def children_of(self, jti: str) -> Sequence[JournaledToken]:
        return list(self._tokens("in_jti = ?", jti, Event.CALL_PERMITTED))

    def permitted_since(self, since: float) -> Iterator[JournaledToken]:
        return self._tokens("time >= ?", parse_microseconds(format_time(since)), Event.CALL_PERMITTED)

    def issued_since(self, since: float) -> Iterator[JournaledToken]:
        return self._tokens("time >= ?", parse_microseconds(format_time(since)), Event.TOKEN_ISSUED)

    def unfinished(self, *, since: str | None = None) -> Iterator[Entry]:
        permits = is_kind("event = ? AND data_plane IS NULL")
        return self._entries(
            f"SELECT seq FROM facet WHERE {permits} AND time >= ? AND NOT EXISTS ({_ENDED})",
            [Event.CALL_PERMITTED.value, parse_microseconds(since) or 0, Event.CALL_ENDED.value],
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

    def _tokens(self, condition: str, value: str | int | None, *events: Event) -> Iterator[JournaledToken]:
        # The event is not looked up by index: too many records share one.
        numbers = f"SELECT seq FROM facet WHERE {condition} AND +{is_kind(f'event IN ({marks(events)})')}"
        found = self._entries(numbers, [value, *(each.value for each in events)])
        return (token for token in map(JournaledToken.of, found) if token is not None)

    def _entries(self, numbers: str, values: Sequence[Any]) -> Iterator[Entry]:
        """The records whose numbers this statement selects, in order."""
        with self._reading() as connection:
            # Sorted here: asked for the order, SQLite would rather read the whole journal than use an index on time.
            seqs = array("q", sorted(seq for (seq,) in connection.execute(numbers, values)))
        for start in range(0, len(seqs), _PAGE):
            page = seqs[start : start + _PAGE]
            with self._reading() as connection:
                select = f"{_SELECT} WHERE seq IN ({marks(page)}) ORDER BY seq"
                rows = connection.execute(select, page.tolist()).fetchall()
            if len(rows) < len(page) and page[0] <= self.base().frontier.size:
                raise JournalUnavailable("records were archived while they were read: ask again")
            yield from (_entry(*row) for row in rows)


_ROWS = "SELECT record.seq, CAST(body AS BLOB), CAST(hash AS BLOB)"
_LEAVES = "FROM record LEFT JOIN leaf ON leaf.seq = record.seq"

# SQLite counts the rows of the table, and `seq` does the same.
_MISSING = re.compile(r"row (\d+) missing from index facet_\w+")


def _schema(connection: sqlite3.Connection) -> frozenset[str]:
    """Every statement that made something in this file; what SQLite makes by itself has none."""
    return frozenset(sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))


def _base_of(connection: sqlite3.Connection, version: int, path: Path) -> tuple[SignedTree, bool]:
    try:
        return read_base(connection, version)
    except ValueError as error:
        raise JournalDamaged(f"the journal `{path}` cannot be read: {error}") from error


class JournalSnapshot(AtOneMoment):
    """A StoredJournal: the whole file as it was at the first question, while the writer may go on.

    Reads files of earlier versions, too: in one without facets, nothing goes by them.
    """

    _version = VERSION

    def _check(self, connection: sqlite3.Connection) -> None:
        self._version = read_version(connection, self._path)

    def base(self) -> SignedTree:
        with self._reading() as connection:
            return _base_of(connection, self._version, self._path)[0]

    def is_sealed(self) -> bool:
        with self._reading() as connection:
            return _base_of(connection, self._version, self._path)[1]

    def frontier(self) -> Frontier:
        with self._reading() as connection:
            rows = connection.execute("SELECT size, hashes FROM frontier").fetchall()
        try:
            ((size, hashes),) = rows
            if type(size) is not int or type(hashes) is not bytes:
                raise ValueError("it is not a number and a row of hashes")
            return Frontier.of_bytes(size, hashes)
        except ValueError as error:
            raise JournalDamaged(f"the stored tree of `{self._path}` cannot be read: {error}") from error

    def rows(self) -> Iterator[StoredRow]:
        # A file that begins with its first record has none before it: whatever is there is looked at.
        size = self.base().frontier.size
        where = f"WHERE record.seq > {size} ORDER BY record.seq" if size > 0 else "ORDER BY record.seq"
        with self._reading() as connection:
            if self._version < FACETS_SINCE:
                for seq, body, leaf in connection.execute(f"{_ROWS} {_LEAVES} {where}"):
                    yield StoredRow(seq, body, leaf, None)
                return
            facets = FacetReader(connection)
            for seq, body, leaf, *noted in connection.execute(
                f"{_ROWS}, {SELECTED} {_LEAVES} LEFT JOIN facet ON facet.seq = record.seq {where}"
            ):
                yield StoredRow(seq, body, leaf, facets.meant(noted))

    def notes(self) -> Sequence[tuple[int, str]]:
        with self._reading() as connection:
            rows = connection.execute("SELECT size, CAST(note AS BLOB) FROM checkpoint ORDER BY size").fetchall()
        return [(size, note.decode("utf-8", "replace")) for size, note in rows]

    def leaf_count(self) -> int:
        with self._reading() as connection:
            return int(connection.execute("SELECT coalesce(max(seq), 0) FROM leaf").fetchone()[0])

    def has_facets(self) -> bool:
        with self._reading():
            return self._version >= FACETS_SINCE

    def stray_facets(self) -> Sequence[int]:
        with self._reading() as connection:
            stray = "SELECT seq FROM facet WHERE NOT EXISTS (SELECT 1 FROM record WHERE record.seq = facet.seq) LIMIT 1"
            return [seq for (seq,) in connection.execute(stray)]

    def structure_faults(self) -> Iterator[tuple[int | None, str]]:
        with self._reading() as connection:
            if _schema(connection) != schema_of(self._version):
                yield None, "its tables and indexes are not those of this version"
            for table in ("facet", "kind", "term"):
                for (said,) in connection.execute(f"PRAGMA integrity_check({table})"):
                    if said != "ok":
                        row = _MISSING.match(said) if table == "facet" else None
                        yield (int(row[1]) if row else None), said


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


def is_kind(condition: str) -> str:
    """A condition on what kind of event it was, as one on `facet`."""
    return f"kind IN (SELECT id FROM kind WHERE {condition})"


def conditions(wanted: Filter) -> tuple[str, list[Any]]:
    """The WHERE clause of a filter over `facet`, and its values."""
    exact = {"event": wanted.event, "reason": wanted.reason, "client": wanted.client}
    kinds: list[tuple[str, list[Any]]] = [
        (f"{name} = ?", [value]) for name, value in exact.items() if value is not None
    ]
    if wanted.resource is not None and "://" in wanted.resource:
        kinds.append(("(in_aud = ? OR out_aud = ?)", [wanted.resource] * 2))
    elif wanted.resource is not None:
        kinds.append(("resource = ?", [wanted.resource]))
    parts: list[tuple[str, list[Any]]] = []
    if kinds:
        parts.append((is_kind(" AND ".join(part for part, _ in kinds)), [value for _, some in kinds for value in some]))
    if wanted.txn is not None:
        parts.append(("txn = ?", [wanted.txn]))
    if wanted.call_id is not None:
        parts.append(("call_id = ?", [wanted.call_id]))
    if wanted.first is not None:
        parts.append(("seq >= ?", [wanted.first]))
    if wanted.last is not None:
        parts.append(("seq <= ?", [wanted.last]))
    if wanted.jti is not None:
        parts.append(("(in_jti = ? OR out_jti = ?)", [wanted.jti] * 2))
    if wanted.since is not None:
        parts.append(("time >= ?", [parse_microseconds(wanted.since)]))
    if wanted.until is not None:
        parts.append(("time < ?", [parse_microseconds(wanted.until)]))
    where = " AND ".join(part for part, _ in parts) or "TRUE"
    return where, [value for _, values in parts for value in values]


def marks(values: Sized) -> str:
    return ",".join("?" * len(values))


def _entry(seq: int, body: bytes) -> Entry:
    return Entry(seq, body.decode("utf-8", "replace"))
