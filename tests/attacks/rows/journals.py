"""The record: what an attacker with the files can do to it, and what happens while nothing can be written."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perhop.journal.facets import facets_of, parse_body
from perhop.journal.keys import VKEY_FILE, JournalKey, load_vkey
from perhop.journal.tree import leaf_hash
from perhop.journal.verify import verify_journal
from perhop.storage.journal_db import checkpoint_path, create_journal
from perhop.storage.journal_reader import JournalSnapshot
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import said, tried
from tests.attacks.world import World
from tests.support.authorization_servers import RunningServer, running_server
from tests.support.doors import Answer

Change = Callable[[sqlite3.Connection, int, int], int]
"""Changes a copy of the journal around a record, given how long it is; returns the record that must be named."""

NAMED = Expected("named", None, records=0)


async def _untouched(world: World) -> str:
    """The journal as it is now, in a copy: everything written so far is signed, and the copy verifies."""
    async with asyncio.timeout(10):
        while world.plane.journal.status().signed < world.reader.size():
            await asyncio.sleep(0.05)
    return checkpoint_path(world.plane.settings.journal_path).read_text(encoding="utf-8")


def _tampered(*changes: tuple[str, Change]) -> Any:
    async def attempt(world: World) -> dict[str, Seen]:
        checkpoint = await _untouched(world)
        original = world.plane.settings.journal_path
        sights = {}
        with TemporaryDirectory() as folder:
            for name, change in (("nothing", _nothing), *changes):
                copy = Path(folder) / "copy.db"
                copy.unlink(missing_ok=True)
                with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(copy)) as target:
                    source.backup(target)
                    size = target.execute("SELECT max(seq) FROM record").fetchone()[0]
                    expected = change(target, size // 2, size)
                    target.commit()
                found = _verify(world, copy, checkpoint)
                if name == "nothing":
                    assert found == "whole"
                    continue
                sights[name] = said("named" if found == f"record {expected}" else f"{found}, not {expected}")
        return sights

    return attempt


TABLES = ("record", "leaf", "facet")


def _verify(world: World, journal: Path, checkpoint: str) -> str:
    """By the file, the public key and a checkpoint that was kept elsewhere."""
    key = load_vkey(world.plane.settings.keys_dir / VKEY_FILE)
    with JournalSnapshot(journal) as snapshot:
        found = verify_journal(snapshot, key, checkpoints=[checkpoint])
    return "whole" if found.ok else f"record {found.first_bad}"


def _nothing(_db: sqlite3.Connection, _seq: int, _size: int) -> int:
    return 0


def _flip(db: sqlite3.Connection, seq: int, _: int) -> int:
    db.execute('UPDATE record SET body = replace(body, \'"time":"2\', \'"time":"3\') WHERE seq = ?', (seq,))
    return seq


def _flip_with_leaf(db: sqlite3.Connection, seq: int, size: int) -> int:
    """Body, leaf and facets agree: only a signature over the tree speaks, and names the stretch that cannot hold."""
    _flip(db, seq, size)
    (body,) = db.execute("SELECT body FROM record WHERE seq = ?", (seq,)).fetchone()
    db.execute("UPDATE leaf SET hash = ? WHERE seq = ?", (leaf_hash(body.encode()), seq))
    db.execute("UPDATE facet SET time = ? WHERE seq = ?", (facets_of(parse_body(body)).time, seq))
    (signed,) = db.execute("SELECT max(size) FROM checkpoint WHERE size < ?", (seq,)).fetchone()
    return int(signed) + 1


def _hide(db: sqlite3.Connection, seq: int, _: int) -> int:
    """The record stays as it is, and no question finds it."""
    found = "SELECT min(seq) FROM facet WHERE seq >= ? AND txn IS NOT NULL"
    seq = db.execute(found, (seq,)).fetchone()[0]
    db.execute("UPDATE facet SET txn = NULL, in_jti = NULL, out_jti = NULL WHERE seq = ?", (seq,))
    return seq


def _break(db: sqlite3.Connection, seq: int, _: int) -> int:
    db.execute("UPDATE record SET body = 'nothing happened' WHERE seq = ?", (seq,))
    return seq


def _remove(db: sqlite3.Connection, seq: int, _: int) -> int:
    for table in TABLES:
        db.execute(f"DELETE FROM {table} WHERE seq = ?", (seq,))
    return seq


def _remove_and_close_ranks(db: sqlite3.Connection, seq: int, size: int) -> int:
    _remove(db, seq, size)
    for table in TABLES:
        db.execute(f"UPDATE {table} SET seq = -seq WHERE seq > ?", (seq,))
        db.execute(f"UPDATE {table} SET seq = -seq - 1 WHERE seq < 0")
    return seq


def _swap(db: sqlite3.Connection, seq: int, _: int) -> int:
    for table in TABLES:
        for old, new in ((seq, 0), (seq + 3, seq), (0, seq + 3)):
            db.execute(f"UPDATE {table} SET seq = ? WHERE seq = ?", (new, old))
    return seq


def _insert(db: sqlite3.Connection, _: int, size: int) -> int:
    """One more at the end, under no signature, as if the writer had left it there without its leaf."""
    db.execute("INSERT INTO record SELECT seq + 1, body FROM record WHERE seq = ?", (size,))
    return size + 1


def _cut(db: sqlite3.Connection, seq: int, _: int) -> int:
    for table in TABLES:
        db.execute(f"DELETE FROM {table} WHERE seq > ?", (seq,))
    return seq + 1


def _cut_with_checkpoints(db: sqlite3.Connection, seq: int, size: int) -> int:
    """Nothing in the file says that there was more: the checkpoint kept elsewhere does."""
    db.execute("DELETE FROM checkpoint WHERE size > ?", (seq,))
    return _cut(db, seq, size)


def _unsign(db: sqlite3.Connection, seq: int, _: int) -> int:
    """With all later checkpoints gone, too many records are under no signature."""
    db.execute("DELETE FROM checkpoint WHERE size > ?", (seq,))
    (signed,) = db.execute("SELECT max(size) FROM checkpoint").fetchone()
    _flip(db, signed + 1, 0)
    return int(signed) + 1


async def _swapped(world: World) -> Seen:
    """Another journal in the place of ours: well made, under another key."""
    checkpoint = await _untouched(world)
    with TemporaryDirectory() as folder:
        other = Path(folder) / "journal.db"
        create_journal(other, key=JournalKey.new(world.issuer))
        found = _verify(world, other, checkpoint)
    return said("named" if found == "record 1" else found)


def _without(break_it: Callable[[RunningServer, Path], Any]) -> Any:
    async def attempt(_: World) -> Seen:
        with TemporaryDirectory() as folder:
            async with running_server(Path(folder)) as server:
                size = server.queries.size()
                await break_it(server, Path(folder))
                answer = await server.planner_token()
                records = server.queries.tail(server.queries.size() - size)
        seen = Answer(answer.status_code, tuple(answer.headers.multi_items()), answer.content)
        assert seen.header("retry-after") is not None
        reason = records[-1].text("reason") if records else None
        return Seen(observed=seen.observed, reason=reason, records=len(records), answer=seen)

    return attempt


async def _close_journal(server: RunningServer, _: Path) -> None:
    await server.issuer.journal.close()


async def _spoil_database(server: RunningServer, folder: Path) -> None:
    await server.database.close()
    for file in folder.glob("perhop.db*"):
        file.write_bytes(b"this is no database " * 100)


DOWN = "503 temporarily_unavailable"
ROWS: tuple[Row, ...] = (
    tried(
        "record-changed",
        "a record is changed, alone or with its leaf",
        "RFC 9162 §2.1",
        Door.JOURNAL,
        _tampered(
            ("one byte", _flip),
            ("one byte, and the leaf", _flip_with_leaf),
            ("all of it", _break),
            ("hidden from questions", _hide),
        ),
        NAMED,
    ),
    tried(
        "record-removed",
        "a record is taken out, and the others may close ranks",
        "RFC 9162 §2.1",
        Door.JOURNAL,
        _tampered(("gap", _remove), ("no gap", _remove_and_close_ranks)),
        NAMED,
    ),
    tried(
        "records-reordered",
        "two records change places",
        "RFC 9162 §2.1",
        Door.JOURNAL,
        _tampered(("with their leaves", _swap)),
        NAMED,
    ),
    tried(
        "record-added",
        "a record more, under no signature",
        "RFC 9162 §2.1",
        Door.JOURNAL,
        _tampered(("at the end", _insert)),
        NAMED,
    ),
    tried(
        "journal-cut",
        "the end is cut off, with or without the checkpoints over it",
        "RFC 9162 §2.1.4",
        Door.JOURNAL,
        _tampered(("records", _cut), ("records and checkpoints", _cut_with_checkpoints), ("checkpoints", _unsign)),
        NAMED,
    ),
    tried("journal-swapped", "another journal in the place of ours", "RFC 9162 §2.1.4", Door.JOURNAL, _swapped, NAMED),
    tried(
        "issuing-without-a-record",
        "tokens while nothing can be recorded",
        "CWE-778",
        Door.STS,
        _without(_close_journal),
        Expected(DOWN, None, records=0),
    ),
    tried(
        "issuing-without-a-database",
        "tokens while their lineage cannot be kept",
        "CWE-636",
        Door.STS,
        _without(_spoil_database),
        Expected(DOWN, "journal.unavailable", records=1),
    ),
)
