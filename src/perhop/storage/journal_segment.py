"""Sealed segments: a part of the journal written into a file of its own, and what is looked at before a cut.

A segment is written under another name, verified as it lies on the disk, and only then takes its own. Whoever writes
one holds the folder's lock, so what an interrupted run left half written is nobody's.
"""
# ruff: noqa: S608 - statements are put together from names of ours; values are always bound

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from perhop.errors import JournalDamaged, JournalLocked, JournalUnavailable, OperatorError
from perhop.journal.archived import segment_name
from perhop.journal.canonical import format_time
from perhop.journal.checkpoint import CheckpointInvalid, verify_checkpoint
from perhop.journal.facets import format_microseconds, parse_microseconds
from perhop.journal.keys import JournalVerifyKey
from perhop.journal.store import SignedTree
from perhop.journal.tree import Frontier
from perhop.journal.verify import Verification, verify_journal
from perhop.storage.journal_db import fsync_folder
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot
from perhop.storage.journal_schema import FACET_INDEXES, HEADER, TABLES, TERMS, fault, read_base, read_version

PAGE = 5000
"""Records copied at a time. No transaction stays open between two pages: the writer's log must be able to shrink."""

LOCK_FILE = "archive.lock"

Progress = Callable[[str], None]

_FAULTS = (sqlite3.Error, OSError)


class ArchivableJournal(JournalQueries):
    """The live journal, as whoever archives a part of it asks it."""

    def first_from(self, moment: float) -> tuple[int, str] | None:
        """The first record of this time (seconds since the epoch) or later, or of no time at all, and its time."""
        found = "SELECT seq, time FROM facet WHERE time IS NULL OR time >= ? ORDER BY seq LIMIT 1"
        with self._reading() as connection:
            row = connection.execute(found, (parse_microseconds(format_time(moment)),)).fetchone()
        return None if row is None else (row[0], "no time" if row[1] is None else format_microseconds(row[1]))

    def last_checkpoint_upto(self, seq: int) -> tuple[int, str] | None:
        """The largest stored checkpoint over no more records than this: its size, and its note."""
        found = "SELECT size, note FROM checkpoint WHERE size <= ? ORDER BY size DESC LIMIT 1"
        with self._reading() as connection:
            row = connection.execute(found, (seq,)).fetchone()
        return None if row is None else (row[0], row[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What a segment's file says of its two ends, unverified: where it begins, and the tree and note it ends with."""

    base: SignedTree
    end: SignedTree
    count: int
    first: int
    last: int
    is_sealed: bool


def read_ends(path: Path) -> Ends:
    """Look at the two ends of a segment, and count its leaves. Takes no look at a body.

    Raises: JournalDamaged, JournalUnavailable, OperatorError
    """
    if not path.is_file():
        raise OperatorError(f"there is no segment `{path}`", advice="run the command again: it writes the segment anew")
    try:
        with closing(_open(path, "mode=ro&immutable=1")) as connection:
            base, is_sealed = read_base(connection, read_version(connection, path))
            size, hashes = connection.execute("SELECT size, hashes FROM frontier").fetchone()
            (note,) = connection.execute("SELECT note FROM checkpoint WHERE size = ?", (size,)).fetchone()
            first, last = connection.execute("SELECT min(seq), max(seq) FROM record").fetchone()
            (count,) = connection.execute("SELECT count(*) FROM leaf").fetchone()
            end = SignedTree(Frontier.of_bytes(size, hashes), note)
    except sqlite3.Error as error:
        raise fault(error, path) from error
    except (ValueError, TypeError) as error:
        raise JournalDamaged(f"the segment `{path}` cannot be read: {error}") from error
    return Ends(base=base, end=end, count=count, first=first, last=last, is_sealed=is_sealed)


@contextmanager
def archive_folder(folder: Path) -> Iterator[None]:
    """Be the only one who writes segments into this folder, which is made for its owner alone.

    Raises: OperatorError
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(f"cannot write in the folder `{folder}`: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise JournalLocked(f"another command archives into `{folder}`", advice="wait until it is done") from error
    finally:
        os.close(lock)


def written_before(folder: Path, first: int) -> list[tuple[int, Path]]:
    """The segments in this folder that begin with this record, with the last record of each, by their names."""
    found = []
    for path in folder.glob(f"journal-{first:012}-*.db"):
        last = path.stem.rpartition("-")[2]
        if last.isascii() and last.isdigit() and path.name == segment_name(first, int(last)):
            found.append((int(last), path))
    return sorted(found)


def write_segment(live: Path, folder: Path, base: SignedTree, last: int, key: JournalVerifyKey, tell: Progress) -> Path:
    """Write the records after the base up to `last`, which a stored checkpoint signs; verified when it returns.

    Raises: JournalDamaged, JournalUnavailable, OperatorError
    """
    target = folder / segment_name(base.frontier.size + 1, last)
    draft = target.with_name(f"{target.name}.new")
    draft.unlink(missing_ok=True)  # of a run that was interrupted: the folder's lock says that it runs no more
    try:
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(_open(draft, "mode=rw")) as connection:
            _fill(connection, live, base, last, tell)
        _make_durable(draft)
        verify_segment(draft, base, last, key, tell)
        os.link(draft, target)  # unlike a rename, it never takes another file's place
        draft.unlink()
        fsync_folder(folder)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise OperatorError(f"`{target}` is there already", advice="move it away, if it is not ours") from error
        if isinstance(error, _FAULTS):
            raise OperatorError(
                f"cannot write the segment `{target}`: {error}",
                advice="nothing was changed; make room, and run it again",
            ) from error
        raise
    return target


def verify_segment(path: Path, base: SignedTree, last: int, key: JournalVerifyKey, tell: Progress) -> Verification:
    """Verify the whole file, and that it is the sealed segment from this base up to `last`.

    Raises: JournalDamaged
    """
    with JournalSnapshot(path) as stored:
        found = verify_journal(stored, key, progress=lambda at: tell(f"verifying: record {at} of {last}"))
        rests = stored.base()
    problem = found.problem
    if not problem and (not found.is_sealed or rests != base or found.last != last):
        problem = f"it is not the sealed segment of records {base.frontier.size + 1} to {last}"
    if problem:
        raise JournalDamaged(
            f"the segment `{path}` does not verify, and nothing was archived: {problem}",
            advice="run `perhop journal verify`; if the journal is good, remove this file and run the command again",
        )
    return found


def sha256_of(path: Path) -> str:
    """The digest of a whole file, in hex.

    Raises: OSError
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(connection: sqlite3.Connection, live: Path, base: SignedTree, last: int, tell: Progress) -> None:
    # Of a draft nothing is kept, so it needs neither a journal nor syncs of its own.
    for pragma in ("journal_mode = OFF", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    for statement in TABLES:
        connection.execute(statement)
    connection.execute("ATTACH ? AS live", (f"{live.absolute().as_uri()}?mode=ro",))
    after = base.frontier.size
    for start in range(after, last, PAGE):
        page = (start, min(start + PAGE, last))
        connection.execute("BEGIN")
        for table in ("record", "leaf", "facet"):
            connection.execute(
                f"INSERT INTO {table} SELECT * FROM live.{table} WHERE seq > ? AND seq <= ? ORDER BY seq",
                page,
            )
        connection.execute("COMMIT")
        tell(f"writing: record {page[1]} of {last}")
    named = " UNION ".join(f"SELECT {name} FROM facet" for name in TERMS)
    for statement, values in (
        ("INSERT INTO checkpoint SELECT * FROM live.checkpoint WHERE size > ? AND size <= ?", (after, last)),
        (f"INSERT INTO term SELECT * FROM live.term WHERE id IN ({named})", ()),
        ("INSERT INTO kind SELECT * FROM live.kind WHERE id IN (SELECT kind FROM facet)", ()),
        ("INSERT INTO base VALUES (1, ?, ?, ?, 1)", (after, base.frontier.to_bytes(), base.note)),
    ):
        connection.execute(statement, values)
    tree = base.frontier.grown(bytes(leaf) for (leaf,) in connection.execute("SELECT hash FROM leaf ORDER BY seq"))
    connection.execute("INSERT INTO frontier VALUES (1, ?, ?)", (tree.size, tree.to_bytes()))
    connection.execute("DETACH live")
    for statement in (*FACET_INDEXES, *HEADER):
        connection.execute(statement)


def _make_durable(path: Path) -> None:
    """On disk, and read-only from now on."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fchmod(file, 0o400)
        os.fsync(file)
    finally:
        os.close(file)


def _open(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)


def check_ends(ends: Ends, base: SignedTree, note: str, key: JournalVerifyKey) -> None:
    """Hold a segment's two ends against the journal that is to be cut: its base, and its checkpoint over as many.

    Raises: OperatorError
    """
    first, last = base.frontier.size + 1, ends.end.frontier.size
    wrong: Sequence[tuple[bool, str]] = (
        (not ends.is_sealed, "it is not sealed"),
        (ends.base != base, f"it does not begin where the journal does, with record {first}"),
        (ends.end.note != note, f"it does not end with the journal's own checkpoint over {last} records"),
        ((ends.first, ends.last, ends.count) != (first, last, last - first + 1), "it does not hold every record"),
        (not _is_signed(ends.end, key), "the tree it ends with is not the one that its checkpoint signs"),
    )
    for is_wrong, words in wrong:
        if is_wrong:
            raise OperatorError(f"the segment is not cut from this journal: {words}", advice="run the command again")


def _is_signed(tree: SignedTree, key: JournalVerifyKey) -> bool:
    try:
        signed = verify_checkpoint(tree.note, key)
    except CheckpointInvalid:
        return False
    return (signed.size, signed.root) == (tree.frontier.size, tree.frontier.root())


class SegmentFolder:
    """An Archive: segments by their names in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sha256(self, name: str) -> str | None:
        """The digest of the file of this name, None if it is not there.

        Raises: JournalUnavailable
        """
        try:
            return sha256_of(self._folder / name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalUnavailable(f"`{self._folder / name}` cannot be read: {error.strerror}") from error

    def open(self, name: str) -> JournalSnapshot:
        """The segment of this name.

        Raises: NotFound
        """
        return JournalSnapshot(self._folder / name)

    def names(self) -> list[str]:
        """Every file that is named as a segment."""
        return sorted(path.name for path in self._folder.glob("journal-*-*.db"))
