"""Journals that are old enough for a part of them to be archived: whole installations, and files alone."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perhop.founding.found import found
from perhop.journal.archived import Archived, segment_name
from perhop.journal.chain import Chain, older_checkpoints, verify_chain
from perhop.journal.keys import load_journal_key
from perhop.journal.record import Record
from perhop.journal.store import Cut
from perhop.journal.tree import leaf_hash
from perhop.journal.verify import Verification, verify_journal
from perhop.journal.writer import Journal
from perhop.storage.journal_db import open_journal
from perhop.storage.journal_reader import JournalSnapshot
from perhop.storage.journal_segment import ArchivableJournal, SegmentFolder, read_ends, sha256_of, write_segment
from tests.support import recursive_tree
from tests.support.commands import CONFIGURATION, SECRET
from tests.support.journals import JournalFolder, a_permit, an_outcome
from tests.support.processes import free_ports

DAY = 24 * 3600
FIRST, SECOND = (1, 150), (151, 311)
"""What the two segments of the original hold: a checkpoint stands at 150 and, with the record of the cut, at 311."""


def days_ago(days: float) -> Callable[[], float]:
    """A clock that is behind by so many days."""
    return lambda: time.time() - days * DAY


def make_old_installation(folder: Path, *, days: float = 60) -> None:
    """An installation as `make_installation` leaves it, made so many days ago."""
    folder.mkdir(parents=True)
    traffic, console, ops, upstream = free_ports(4)
    text = CONFIGURATION.format(traffic=traffic, console=console, ops=ops, upstream=upstream, secret=SECRET)
    (folder / "perhop.yaml").write_text(text, encoding="utf-8")
    asyncio.run(found(folder, environ={}, clock=days_ago(days)))


def write_old(folder: Path, count: int, *, days: float, first: int = 1) -> None:
    """So many permits and outcomes of that time into the journal of a folder; signed at the end."""

    async def write() -> None:
        key = load_journal_key(folder / "keys")
        await append_all(open_journal(folder / "journal.db", key=key, clock=days_ago(days)), calls(count, first=first))

    asyncio.run(write())


def calls(count: int, *, first: int = 1) -> list[Record]:
    """So many records: permits, each followed by its outcome."""
    return [a_permit(first + at // 2) if at % 2 == 0 else an_outcome(first + at // 2) for at in range(count)]


async def append_all(journal: Journal, records: Sequence[Record]) -> None:
    """Append in the order of the list, many at a time, and close the journal."""
    try:
        for start in range(0, len(records), 40):
            await asyncio.gather(*(journal.append(each) for each in records[start : start + 40]))
    finally:
        await journal.close()


def write_next_segment(made: JournalFolder, archive: Path, *, upto: int) -> Path:
    """The segment from the journal's base to its largest checkpoint over no more than `upto` records."""
    archive.mkdir(exist_ok=True)
    with ArchivableJournal(made.path) as live:
        base, checkpoint = live.base(), live.last_checkpoint_upto(upto)
    assert checkpoint is not None
    return write_segment(made.path, archive, base, checkpoint[0], made.key.verify_key, lambda _: None)


async def cut_at(made: JournalFolder, journal: Journal, segment: Path) -> Archived:
    """Cut the journal where the segment ends, as the operation does once it has looked."""
    with ArchivableJournal(made.path) as live:
        base = live.base()
    ends = read_ends(segment)
    archived = Archived(
        first=base.frontier.size + 1,
        last=ends.end.frontier.size,
        root=ends.end.frontier.root().hex(),
        file=segment.name,
        sha256=sha256_of(segment),
    )
    await journal.cut(Cut(base.frontier.size, ends.end), archived.record(by="tests"))
    return archived


def archive_some(made: JournalFolder, archive: Path, *, upto: int) -> Archived:
    """Write the next segment, cut the journal there, and have it swept."""
    segment = write_next_segment(made, archive, upto=upto)

    async def cut() -> Archived:
        async with made.writing() as journal:
            archived = await cut_at(made, journal, segment)
            await journal.swept()
            return archived

    return asyncio.run(cut())


def verify_all(made: JournalFolder, archive: Path, *checkpoints: str) -> Chain:
    """Verify the live file with every segment before it."""
    key = made.key.verify_key
    with JournalSnapshot(made.path) as stored:
        mine, older = older_checkpoints(checkpoints, key, base=stored.base().frontier.size)
        live = verify_journal(stored, key, checkpoints=mine)
    return verify_chain(live, SegmentFolder(archive), key, checkpoints=older)


def write_calls(made: JournalFolder, count: int, *, first: int) -> None:
    """So many calls of 40 days ago into a journal."""
    asyncio.run(append_all(made.open(days_ago(40)), calls(count, first=first)))


def archive_of(made: JournalFolder) -> Path:
    """Where its segments are."""
    return made.folder / "archive"


def segment_of(made: JournalFolder, ends: tuple[int, int]) -> Path:
    """The segment with these ends."""
    return archive_of(made) / segment_name(*ends)


def verify_file(made: JournalFolder, path: Path, *checkpoints: str) -> Verification:
    """Verify one file of it alone."""
    return JournalFolder(folder=path.parent, key=made.key).verify_file(path, *checkpoints)


def rows_of(path: Path, statement: str) -> list[tuple[object, ...]]:
    """What a statement finds in a file, whoever wrote it."""
    connection = sqlite3.connect(path)
    rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def change_file(path: Path, *statements: str) -> None:
    """Change a file behind everybody's back; `leaf_of` is the leaf hash of a body."""
    path.chmod(0o600)
    connection = sqlite3.connect(path)
    connection.create_function("leaf_of", 1, lambda body: leaf_hash(body.encode()), deterministic=True)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def all_leaves(made: JournalFolder) -> list[bytes]:
    """The leaf hashes of the whole history, from the bodies in every file, by the other implementation."""
    files = [*sorted(archive_of(made).glob("journal-*.db")), made.path]
    bodies = [str(body) for file in files for (body,) in rows_of(file, "SELECT body FROM record ORDER BY seq")]
    assert [json.loads(body)["seq"] for body in bodies] == list(range(1, len(bodies) + 1))
    return [recursive_tree.leaf(body.encode()) for body in bodies]


async def sweep(made: JournalFolder) -> None:
    """Open the journal until nothing archived is left in it."""
    async with made.writing() as journal:
        await journal.swept()


def checkpoint_after(made: JournalFolder, seq: int) -> int:
    """The smallest checkpoint over more than so many records."""
    ((size,),) = rows_of(made.path, f"SELECT min(size) FROM checkpoint WHERE size > {seq}")
    assert isinstance(size, int)
    return size
