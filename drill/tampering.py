"""Ways to hide what a journal says: each is done to a copy, and what the verifier must name then.

Whoever does this can write the file. Some know how it is made, and change leaves, facets and checkpoints along; none
has the journal's private key, and none reaches the checkpoint that was kept elsewhere.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from perhop.journal.checkpoint import sign_checkpoint
from perhop.journal.facets import Facets, facets_of, parse_body
from perhop.journal.keys import JournalKey
from perhop.journal.tree import Frontier, leaf_hash
from perhop.storage.journal_facets import FacetWriter

TABLES = (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What somebody wants gone: records by number, lowest first. `older` is an earlier copy of the journal, with the
    checkpoint that was published then beside it; `name` is the log's name, which anybody may use."""

    seqs: Sequence[int]
    older: Path
    name: str

    @property
    def first(self) -> int:
        return self.seqs[0]

    @property
    def one(self) -> int:
        """A record in the middle of them."""
        return self.seqs[len(self.seqs) // 2]


Expected = tuple[int, int]
"""`first_bad` must be one of these records, from the first to the last."""


@dataclass(frozen=True, slots=True)
class Tampering:
    """One way. `apply` changes the file, and says which record must be named."""

    title: str
    apply: Callable[[Path, Traces], Expected]


def _exactly(seq: int) -> Expected:
    return seq, seq


def _changed(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def _body(db: sqlite3.Connection, seq: int) -> str:
    return str(db.execute("SELECT body FROM record WHERE seq = ?", (seq,)).fetchone()[0])


def _another(body: str) -> str:
    """The same record about something else, as canonical as before."""
    return body.replace('"event":"call.', '"event":"cell.')


def _since_signed(db: sqlite3.Connection, seq: int) -> Expected:
    """The stretch between two checkpoints in which this record is."""
    before = db.execute("SELECT max(size) FROM checkpoint WHERE size < ?", (seq,)).fetchone()[0]
    return before + 1, seq


def one_letter(path: Path, traces: Traces) -> Expected:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE record SET body = ? WHERE seq = ?", (_another(_body(db, traces.one)), traces.one))
        db.commit()
    return _exactly(traces.one)


def one_byte_of_the_file(path: Path, traces: Traces) -> Expected:
    with closing(sqlite3.connect(path)) as db:
        mark = json.dumps(json.loads(_body(db, traces.one))["time"]).encode()
    with path.open("r+b") as file:
        at = _find(path, mark)
        file.seek(at + 3)
        file.write(b"1")
    return _exactly(traces.one)


def _find(path: Path, mark: bytes) -> int:
    """Where this stands in the file; the newest records stand at its end."""
    size, step = path.stat().st_size, 64 * 1024 * 1024
    with path.open("rb") as file:
        start = size
        while start > 0:
            start = max(0, start - step)
            file.seek(start)
            found = file.read(step + len(mark)).rfind(mark)
            if found >= 0:
                return start + found
    raise ValueError("the record does not stand in the file in one piece")


def with_facets(path: Path, traces: Traces) -> Expected:
    with closing(sqlite3.connect(path)) as db:
        _edit(db, traces.one)
        db.commit()
    return _exactly(traces.one)


def with_facets_and_leaf(path: Path, traces: Traces) -> Expected:
    with closing(sqlite3.connect(path)) as db:
        body = _edit(db, traces.one)
        db.execute("UPDATE leaf SET hash = ? WHERE seq = ?", (leaf_hash(body.encode()), traces.one))
        db.commit()
        return _since_signed(db, traces.one)


def _edit(db: sqlite3.Connection, seq: int) -> str:
    body = _another(_body(db, seq))
    db.execute("UPDATE record SET body = ? WHERE seq = ?", (body, seq))
    _set_facets(db, seq, facets_of(parse_body(body)))
    return body


def _set_facets(db: sqlite3.Connection, seq: int, facets: Facets) -> None:
    db.execute("DELETE FROM facet WHERE seq = ?", (seq,))
    FacetWriter(db).add([(seq, facets)])


def a_leaf(path: Path, traces: Traces) -> Expected:
    _changed(path, f"UPDATE leaf SET hash = zeroblob(32) WHERE seq = {traces.one}")
    return _exactly(traces.one)


def removed(path: Path, traces: Traces) -> Expected:
    _changed(path, *(f"DELETE FROM record WHERE seq = {seq}" for seq in traces.seqs))
    return _exactly(traces.first)


def removed_with_everything(path: Path, traces: Traces) -> Expected:
    tables = [table for table, key in TABLES if key == "seq"]
    _changed(path, *(f"DELETE FROM {table} WHERE seq = {seq}" for table in tables for seq in traces.seqs))
    return _exactly(traces.first)


def removed_and_closed_up(path: Path, traces: Traces) -> Expected:
    tables = [table for table, key in TABLES if key == "seq"]
    at = traces.one
    _changed(
        path,
        *(f"DELETE FROM {table} WHERE seq = {at}" for table in tables),
        *(f"UPDATE {table} SET seq = -seq WHERE seq > {at}" for table in tables),
        *(f"UPDATE {table} SET seq = -seq - 1 WHERE seq < 0" for table in tables),
    )
    return _exactly(at)


def reordered(path: Path, traces: Traces) -> Expected:
    first, last = traces.first, traces.seqs[-1]
    tables = [table for table, key in TABLES if key == "seq"]
    for table in tables:
        _changed(
            path,
            f"UPDATE {table} SET seq = 0 WHERE seq = {first}",
            f"UPDATE {table} SET seq = {first} WHERE seq = {last}",
            f"UPDATE {table} SET seq = {last} WHERE seq = 0",
        )
    return _exactly(first)


def hidden_from_questions(path: Path, traces: Traces) -> Expected:
    _changed(path, *(f"UPDATE facet SET in_jti = NULL WHERE seq = {seq}" for seq in traces.seqs))
    # A record that no token came in with has no such facet to hide.
    with closing(sqlite3.connect(path)) as db:
        bodies = ((seq, parse_body(_body(db, seq))) for seq in traces.seqs)
        return _exactly(next(seq for seq, fields in bodies if facets_of(fields).in_jti is not None))


def left_out_of_an_index(path: Path, traces: Traces) -> Expected:
    index = "CREATE INDEX facet_in_jti ON facet (in_jti) WHERE in_jti IS NOT NULL"
    _changed(
        path,
        "DROP INDEX facet_in_jti",
        f"{index} AND seq <> {traces.one}",
        "PRAGMA writable_schema = 1",
        f"UPDATE sqlite_master SET sql = '{index}' WHERE name = 'facet_in_jti'",
    )
    return _exactly(traces.one)


def cut_off(path: Path, traces: Traces) -> Expected:
    """Everything from the last checkpoint before the first of them on, as the writer would have left it then."""
    with closing(sqlite3.connect(path)) as db:
        left, note = db.execute(
            "SELECT size, note FROM checkpoint WHERE size < ? ORDER BY size DESC LIMIT 1", (traces.first,)
        ).fetchone()
        for table, key in TABLES:
            db.execute(f"DELETE FROM {table} WHERE {key} > ?", (left,))
        db.commit()
    path.with_suffix(".checkpoint").write_text(note, encoding="utf-8")
    return _exactly(left + 1)


def an_older_copy(path: Path, traces: Traces) -> Expected:
    shutil.copyfile(traces.older, path)
    shutil.copyfile(traces.older.with_suffix(".checkpoint"), path.with_suffix(".checkpoint"))
    with closing(sqlite3.connect(path)) as db:
        return _exactly(db.execute("SELECT max(seq) FROM record").fetchone()[0] + 1)


def made_anew_under_another_key(path: Path, traces: Traces) -> Expected:
    """The records without the one, a tree and checkpoints that fit, and a key of one's own under the log's name."""
    forger = JournalKey.new(traces.name)
    with closing(sqlite3.connect(path)) as db:
        body = _edit(db, traces.one)
        db.execute("UPDATE leaf SET hash = ? WHERE seq = ?", (leaf_hash(body.encode()), traces.one))
        stretch = _since_signed(db, traces.one)
        sizes = [size for (size,) in db.execute("SELECT size FROM checkpoint WHERE size >= ?", (traces.one,))]
        tree = Frontier()
        for size in sizes:
            rows = db.execute("SELECT hash FROM leaf WHERE seq > ? AND seq <= ? ORDER BY seq", (tree.size, size))
            tree = tree.grown(leaf for (leaf,) in rows.fetchall())
            note = sign_checkpoint(forger, tree)
            db.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (note, size))
        db.commit()
    return stretch


TAMPERINGS = (
    Tampering("one word of a record changed", one_letter),
    Tampering("one byte of the file changed", one_byte_of_the_file),
    Tampering("a record and its facets changed", with_facets),
    Tampering("a record, its facets and its leaf changed", with_facets_and_leaf),
    Tampering("a leaf changed", a_leaf),
    Tampering("records removed", removed),
    Tampering("records removed, with leaves and facets", removed_with_everything),
    Tampering("a record removed, the others moved up", removed_and_closed_up),
    Tampering("two records swapped, with leaves and facets", reordered),
    Tampering("records hidden from questions", hidden_from_questions),
    Tampering("a record left out of an index", left_out_of_an_index),
    Tampering("the end cut off, with all that belongs to it", cut_off),
    Tampering("an older copy, with its own checkpoint", an_older_copy),
    Tampering("tree and checkpoints made anew, another key", made_anew_under_another_key),
)
