"""The journal's log is moved into its file beside the writer: no record waits for it, and it does not grow for ever."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from perhop.journal.writer import Journal
from perhop.storage import journal_log
from tests.support.journals import JournalFolder, a_permit, make_journal, until

PAGE_BYTES = 4096


@pytest.fixture
def made(tmp_path: Path) -> JournalFolder:
    return make_journal(tmp_path)


def _records_without_log(path: Path) -> int:
    """How many records are in the file itself, read from a copy beside which no log lies."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        return int(connection.execute("SELECT count(*) FROM record").fetchone()[0])


async def _append(journal: Journal, numbers: range) -> None:
    await asyncio.gather(*(journal.append(a_permit(number)) for number in numbers))


async def test_the_log_is_moved_while_the_journal_is_open(made: JournalFolder) -> None:
    """A few records, far too few for SQLite's own limit, are in the file itself soon after; so are later ones."""
    async with made.writing() as journal:
        await _append(journal, range(5))
        assert _records_without_log(made.path) == 0
        await until(lambda: _records_without_log(made.path) == 5)
        await _append(journal, range(5, 9))
        await until(lambda: _records_without_log(made.path) == 9)


async def test_nobody_moves_an_empty_log(made: JournalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal at rest stays at rest: the file is not touched again once all is in it."""
    monkeypatch.setattr(journal_log, "PAUSE_SECONDS", 0.02)
    async with made.writing() as journal:
        await _append(journal, range(5))
        await until(lambda: _records_without_log(made.path) == 5 and journal.status().signed == 5)
        await asyncio.sleep(0.2)
        before = made.path.stat().st_mtime_ns
        await asyncio.sleep(0.3)
        assert made.path.stat().st_mtime_ns == before


async def test_a_reader_in_the_middle_holds_up_the_move_and_nobody_else(made: JournalFolder) -> None:
    """What a reader looks at stays as it is; records are appended meanwhile, and moved when the reader has gone."""
    async with made.writing() as journal:
        await _append(journal, range(3))
        with closing(sqlite3.connect(made.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM record").fetchone()[0] == 3
            await _append(journal, range(3, 50))
            await asyncio.sleep(3 * journal_log.PAUSE_SECONDS)
            assert reader.execute("SELECT count(*) FROM record").fetchone()[0] == 3
        await _append(journal, range(50, 51))
        await until(lambda: _records_without_log(made.path) == 51)
    assert made.verify().ok


async def test_a_log_beside_a_writer_that_never_rests_begins_anew(
    made: JournalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a length on the writer moves what is left itself, so the log is no longer than that and a few commits."""
    monkeypatch.setattr(journal_log, "LONGEST_LOG", 200)
    written = 0
    async with made.writing() as journal:
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            await _append(journal, range(written, written + 10))
            written += 10
        log = made.path.with_name("journal.db-wal").stat().st_size
    assert written > 500
    assert log < 400 * (PAGE_BYTES + 24)
    assert made.verify().ok


async def test_a_move_that_fails_is_told_once_and_tried_again(
    made: JournalFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be opened for a while costs no record; when it can be, the log is moved."""
    monkeypatch.setattr(journal_log, "PAUSE_SECONDS", 0.02)
    hidden = made.path.with_name("hidden.db")
    async with made.writing() as journal:
        made.path.rename(hidden)
        await _append(journal, range(5))
        await asyncio.sleep(0.3)
        warned = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert [each.getMessage().split(" yet: ")[0] for each in warned] == [
            "the journal's log could not be moved into its file"
        ]
        hidden.rename(made.path)
        await until(lambda: _records_without_log(made.path) == 5)
    assert made.verify().ok


async def test_closing_does_not_wait_for_the_next_move(made: JournalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that is closed is whole in its one file, whatever the mover's pause is."""
    monkeypatch.setattr(journal_log, "PAUSE_SECONDS", 3600.0)
    async with made.writing() as journal:
        await _append(journal, range(5))
    assert _records_without_log(made.path) == 5
    assert not made.path.with_name("journal.db-wal").exists()
