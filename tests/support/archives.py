"""Journals that are old enough for a part of them to be archived: whole installations, and files alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perhop.founding.found import found
from perhop.journal.archived import Archived
from perhop.journal.chain import Chain, older_checkpoints, verify_chain
from perhop.journal.keys import load_journal_key
from perhop.journal.record import Record
from perhop.journal.store import Cut
from perhop.journal.verify import verify_journal
from perhop.journal.writer import Journal
from perhop.storage.journal_db import open_journal
from perhop.storage.journal_reader import JournalSnapshot
from perhop.storage.journal_segment import ArchivableJournal, SegmentFolder, read_ends, sha256_of, write_segment
from tests.support.commands import CONFIGURATION, SECRET
from tests.support.journals import JournalFolder, a_permit, an_outcome
from tests.support.processes import free_ports

DAY = 24 * 3600


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
