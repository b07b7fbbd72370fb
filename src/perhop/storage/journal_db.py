"""The journal's file, for its one writer: SQLite in WAL mode, every commit on disk before it returns.

Nobody else in the process that writes may open `journal.db` other than through SQLite: closing such a file would
drop SQLite's own locks. That is why the writer's lock is a file of its own.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from perhop.errors import JournalDamaged, JournalLocked, JournalUnavailable, NotFound, OperatorError
from perhop.journal.checkpoint import sign_checkpoint
from perhop.journal.keys import JournalKey
from perhop.journal.store import Cut, Row, SignedTree, Tail
from perhop.journal.tree import Frontier
from perhop.journal.witness import Unwatched, Witness
from perhop.journal.writer import Journal
from perhop.storage.journal_facets import FacetWriter, bring_up_to_date
from perhop.storage.journal_log import LogMover
from perhop.storage.journal_rows import insert_rows
from perhop.storage.journal_schema import (
    EMPTY_BASE,
    FACET_INDEXES,
    HEADER,
    TABLES,
    VERSION,
    fault,
    read_base,
    read_version,
)

CHECKED_AT_START = 256
"""So many of the last records are read and compared with their leaves before anything is added."""

BUSY_SECONDS = 5.0

SWEPT_AT_ONCE = 128
"""Records that one step of the sweep takes out: a few milliseconds' work, since whoever appends waits for it."""

FREED_AT_ONCE = 256
"""Pages that one step gives back to the file system."""

_TIDY_MILLISECONDS = 200

_CACHE = "PRAGMA cache_size = -16384"
"""16 MiB: the leaves of the indexes to which live tokens add stay there, and are not read again for each commit."""

_FAULTS = (sqlite3.Error, OSError)


def lock_path(path: Path) -> Path:
    """The file whose lock the writer holds."""
    return path.with_name(f"{path.name}.lock")


def checkpoint_path(path: Path) -> Path:
    """Where the last checkpoint is published, to be copied to a place out of reach of whoever reaches the journal."""
    return path.with_suffix(".checkpoint")


def create_journal(path: Path, *, key: JournalKey) -> None:
    """Make an empty journal with its first checkpoint, readable for the owner alone.

    Raises: OperatorError
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise OperatorError(f"the journal `{path}` is there already", advice="a journal is never made anew") from None
    except OSError as error:
        raise OperatorError(f"cannot make the journal `{path}`: {error.strerror}") from error
    tree = Frontier()
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            # What is archived makes the file smaller; it cannot be asked for later without writing all of it anew.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in (*TABLES, *FACET_INDEXES, EMPTY_BASE, *HEADER):
                connection.execute(statement)
            _store_signed(connection, SignedTree(tree, sign_checkpoint(key, tree)))
            connection.execute("COMMIT")
        finally:
            connection.close()
        fsync_folder(path.parent)
    except _FAULTS as error:
        path.unlink()  # ours, and empty
        raise OperatorError(f"cannot make the journal `{path}`: {error}") from error


def open_journal(path: Path, *, key: JournalKey, clock: Callable[[], float], witness: Witness = Unwatched()) -> Journal:
    """Go on with a journal that is there, as its only writer.

    Raises: NotFound, OperatorError, JournalDamaged, JournalUnavailable
    """
    store = JournalDatabase(path)
    try:
        return Journal(store, key=key, clock=clock, witness=witness)
    except BaseException:  # whatever it is, the lock must not stay behind
        store.close()
        raise


class JournalDatabase:
    """A JournalStore. Holds the writer's lock from its making until `close`.

    Raises: NotFound, OperatorError
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._facets: FacetWriter | None = None
        self._mover: LogMover | None = None
        if not path.is_file():
            raise NotFound(f"there is no journal `{path}`", advice="run `perhop init`, or check the path")
        try:
            self._lock = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OperatorError(f"cannot lock the journal `{path}`: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise JournalLocked(
                f"another process writes the journal `{path}`", advice="a journal has one writer; stop the other one"
            ) from error

    def load(self) -> Tail:
        """Open the file anew, and read its end; see JournalStore. An earlier version is brought up to date first."""
        self._disconnect()
        try:
            # mode=rw: a file that vanished is an error, never a fresh journal
            uri = f"{self._path.absolute().as_uri()}?mode=rw"
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
            )
            self._connection = connection
            version = read_version(connection, self._path)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(_CACHE)
            if version != VERSION:
                bring_up_to_date(connection, version)
            self._facets = FacetWriter(connection)
            self._mover = LogMover(uri, connection)
            return _read_tail(connection, checkpoint_path(self._path))
        except sqlite3.Error as error:
            raise fault(error, self._path) from error
        except OSError as error:
            raise JournalUnavailable(f"the journal cannot be opened: {error}") from error
        except (ValueError, TypeError) as error:
            raise JournalDamaged(f"the journal `{self._path}` cannot be read: {error}") from error

    def commit(self, rows: Sequence[Row], signed: SignedTree | None, cut: Cut | None = None) -> None:
        """One transaction; see JournalStore."""
        connection, facets, mover = self._connection, self._facets, self._mover
        if connection is None or facets is None or mover is None:
            raise JournalUnavailable("the journal is not open")
        try:
            connection.execute("BEGIN IMMEDIATE")
            insert_rows(connection, "record", [(seq, body) for seq, body, _, _ in rows])
            insert_rows(connection, "leaf", [(seq, leaf) for seq, _, leaf, _ in rows])
            facets.add([(seq, found) for seq, _, _, found in rows])
            if signed is not None:
                _store_signed(connection, signed)
            if cut is not None:
                _store_cut(connection, cut)
            connection.execute("COMMIT")
            mover.wrote()
        except sqlite3.Error as error:
            # Whether the commit reached the file is not known now: closing rolls back, `load` reads what is there.
            self._disconnect()
            raise JournalUnavailable(f"the journal cannot be written: {error}") from error

    def sweep(self) -> bool:
        """One short transaction; see JournalStore. When all rows are out, room is given back, in steps, too."""
        connection, mover = self._connection, self._mover
        if connection is None or mover is None:
            raise JournalUnavailable("the journal is not open")
        try:
            # Rows first: to give room back, SQLite moves pages from the end of the file, and few are left then.
            is_done = _sweep(connection) and _give_back(connection)
            mover.wrote()
        except sqlite3.Error as error:
            self._disconnect()
            raise JournalUnavailable(f"the journal cannot be written: {error}") from error
        return is_done

    def publish(self, note: str) -> None:
        """Replace the checkpoint file in one step; see JournalStore."""
        target = checkpoint_path(self._path)
        draft = target.with_name(f"{target.name}.new")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError as error:
            raise JournalUnavailable(f"cannot write `{target}`: {error.strerror}") from error

    def close(self) -> None:
        """Let file and lock go; see JournalStore. Afterwards, the one file holds everything, even beside readers."""
        self._end_mover()
        if self._connection is not None:
            with suppress(sqlite3.Error):  # it is safe in the log, too; this is for those who copy the one file
                self._connection.execute(f"PRAGMA busy_timeout = {_TIDY_MILLISECONDS}")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._disconnect()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _end_mover(self) -> None:
        mover, self._mover = self._mover, None
        if mover is not None:
            mover.close()

    def _disconnect(self) -> None:
        self._end_mover()
        connection, self._connection, self._facets = self._connection, None, None
        if connection is not None:
            with suppress(sqlite3.Error):  # whoever opens the file next tidies what is left
                connection.close()


def _store_signed(connection: sqlite3.Connection, signed: SignedTree) -> None:
    size = signed.frontier.size
    connection.execute("INSERT OR REPLACE INTO checkpoint (size, note) VALUES (?, ?)", (size, signed.note))
    connection.execute(
        "INSERT OR REPLACE INTO frontier (one, size, hashes) VALUES (1, ?, ?)", (size, signed.frontier.to_bytes())
    )


def _store_cut(connection: sqlite3.Connection, cut: Cut) -> None:
    tree = cut.base.frontier
    moved = connection.execute(
        "UPDATE base SET size = ?, hashes = ?, note = ? WHERE size = ? AND size < ?",
        (tree.size, tree.to_bytes(), cut.base.note, cut.after, tree.size),
    )
    if moved.rowcount != 1:
        raise sqlite3.IntegrityError(f"the journal does not begin after record {cut.after} any more")


def _sweep(connection: sqlite3.Connection) -> bool:
    """Take the first records below the base out, each with all that is beside it; True when none is left."""
    connection.execute("BEGIN IMMEDIATE")
    base = connection.execute("SELECT size FROM base").fetchone()[0]
    rows = connection.execute("SELECT seq FROM record WHERE seq <= ? ORDER BY seq LIMIT ?", (base, SWEPT_AT_ONCE))
    found = [seq for (seq,) in rows]
    is_done = len(found) < SWEPT_AT_ONCE
    upto = base if is_done else found[-1]
    for statement in (
        "DELETE FROM record WHERE seq <= ?",
        "DELETE FROM leaf WHERE seq <= ?",
        "DELETE FROM facet WHERE seq <= ?",
        "DELETE FROM checkpoint WHERE size <= ?",
    ):
        connection.execute(statement, (upto,))
    connection.execute("COMMIT")
    return is_done


def _give_back(connection: sqlite3.Connection) -> bool:
    """Give some free pages back to the file system; True when there are none, or the file was made to keep them."""
    # As a script: stepped by `execute`, this pragma stops after its first page.
    connection.executescript(f"PRAGMA incremental_vacuum({FREED_AT_ONCE})")
    kept = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
    return kept == 0 or connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 0


def _read_tail(connection: sqlite3.Connection, published: Path) -> Tail:
    stored = connection.execute("SELECT size, hashes FROM frontier").fetchone()
    note = connection.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    if stored is None or note is None:
        raise ValueError("it has no checkpoint")
    base, is_sealed = read_base(connection, VERSION)
    if is_sealed:
        raise ValueError("it is a sealed segment, and nothing is ever added to one")
    frontier, archived = Frontier.of_bytes(*stored), base.frontier.size
    size = max(archived, connection.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()[0])
    rows = connection.execute(
        "SELECT record.seq, CAST(body AS BLOB), hash FROM record LEFT JOIN leaf ON leaf.seq = record.seq"
        " WHERE record.seq > ? ORDER BY record.seq",
        (max(archived, min(frontier.size, size - CHECKED_AT_START)),),
    ).fetchall()
    try:
        copy = published.read_text(encoding="utf-8")
    except FileNotFoundError:
        copy = None
    return Tail(
        size=size,
        first=connection.execute("SELECT min(seq) FROM record WHERE seq > ?", (archived,)).fetchone()[0],
        base=base,
        signed=SignedTree(frontier, note[0]),
        rows=rows,
        published=copy,
    )


def fsync_folder(folder: Path) -> None:
    """Make the name of a new file durable, too."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
