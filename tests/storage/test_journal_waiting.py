"""Whoever waits for a record, who does not, and who waits too long."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from perhop.errors import JournalUnavailable
from perhop.journal import writer
from perhop.journal.record import Record
from perhop.journal.store import Cut, Row, SignedTree
from perhop.journal.witness import Offered
from perhop.journal.writer import Journal
from perhop.storage.journal_db import JournalDatabase
from tests.support.journals import JournalFolder, a_permit, an_outcome, make_journal

NOW = 1_790_000_000.0


class HeldDatabase(JournalDatabase):
    """The real file, on a disk that stands still until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.goes = threading.Event()

    def commit(self, rows: Sequence[Row], signed: SignedTree | None, cut: Cut | None = None) -> None:
        self.goes.wait(20)
        super().commit(rows, signed, cut)


class CountedDatabase(JournalDatabase):
    """The real file, and how many records each commit brought."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sizes: list[int] = []
        self.has_begun = threading.Event()

    def commit(self, rows: Sequence[Row], signed: SignedTree | None, cut: Cut | None = None) -> None:
        self.sizes.append(len(rows))
        self.has_begun.set()
        super().commit(rows, signed, cut)


class Watching:
    """A witness that keeps what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bool]] = []

    def offered(self, record: Record) -> Offered:
        return Offered(record)

    def told(self, offered: Sequence[Offered], *, is_written: bool) -> None:
        self.heard += [(each.record.event.value, is_written) for each in offered]

    def counted(self, record: Record) -> None:
        raise AssertionError("nothing is only counted here")


@pytest.fixture
def made(tmp_path: Path) -> JournalFolder:
    return make_journal(tmp_path)


def _events(made: JournalFolder) -> list[str]:
    with made.queries() as reader:
        return [each.text("event") or "" for each in reader.tail(100)]


async def test_who_waits_too_long_is_told_so_and_the_record_is_kept(made: JournalFolder) -> None:
    """Every waiter gets the error, those who came later as well; what was taken is written when the disk goes on."""
    store = HeldDatabase(made.path)
    journal = Journal(store, key=made.key, clock=lambda: NOW, patience_seconds=0.02)
    first = await asyncio.gather(*(journal.append(a_permit(each)) for each in range(3)), return_exceptions=True)
    second = await asyncio.gather(journal.append(a_permit(3)), return_exceptions=True)
    assert [str(each) for each in (*first, *second)] == ["the journal did not write in time"] * 4
    store.goes.set()
    await journal.close()
    assert _events(made) == ["call.permitted"] * 4
    assert made.verify().ok


async def test_whoever_has_all_the_time_is_not_told_too_early(made: JournalFolder) -> None:
    """Records that are offered together are waited for beyond the patience of a call."""
    store = HeldDatabase(made.path)
    journal = Journal(store, key=made.key, clock=lambda: NOW, patience_seconds=0.02)
    waiting = asyncio.create_task(journal.append_all([a_permit(1), a_permit(2)]))
    with pytest.raises(JournalUnavailable, match="in time"):
        await journal.append(a_permit(3))
    assert not waiting.done()
    store.goes.set()
    await waiting
    await journal.close()


async def test_what_one_turn_of_the_loop_brings_shares_a_commit(made: JournalFolder) -> None:
    """Nobody could hear of it before the turn is over; the next turn's records are the next commit."""
    store = CountedDatabase(made.path)
    journal = Journal(store, key=made.key, clock=lambda: NOW)
    store.has_begun.clear()
    store.sizes.clear()
    turn = [asyncio.ensure_future(journal.append(a_permit(each))) for each in range(5)]
    asyncio.get_running_loop().call_soon(lambda: turn.append(asyncio.ensure_future(journal.append(a_permit(5)))))
    asyncio.get_running_loop().call_soon(lambda: store.has_begun.wait(0.1))
    await asyncio.sleep(0)
    assert store.sizes == []
    assert await asyncio.gather(*turn) == [1, 2, 3, 4, 5, 6]
    assert store.sizes[0] >= 5
    await journal.close()
    assert made.verify().ok


async def test_a_noted_record_stands_in_its_order_and_is_written_before_the_end(made: JournalFolder) -> None:
    """Nobody waits for it, and it stands between the one before and the one after; `close` leaves none behind."""
    watching = Watching()
    journal = made.open(lambda: NOW, watching)
    journal.note(an_outcome(1))
    waiting = asyncio.create_task(journal.append(a_permit(2)))
    await asyncio.sleep(0)
    journal.note(an_outcome(2))
    assert await waiting == 2
    for number in range(100):
        journal.note(an_outcome(number))
    await journal.close()
    assert _events(made) == ["call.permitted", *["call.ended"] * 101][-100:]
    assert made.verify().records == 103
    await asyncio.sleep(0)
    assert watching.heard == [("call.ended", True), ("call.permitted", True), *[("call.ended", True)] * 101]


async def test_a_note_shares_the_next_commit_and_waits_no_longer_for_it_than_it_may(
    made: JournalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One note goes along with a record that is awaited; the next, which came later, may wait its own time."""
    monkeypatch.setattr(writer, "LINGER_SECONDS", 0.3)
    store = CountedDatabase(made.path)
    journal = Journal(store, key=made.key, clock=lambda: NOW, checkpoint_seconds=3600.0)
    begun = time.monotonic()
    journal.note(an_outcome(1))
    await asyncio.sleep(0.2)
    assert await journal.append(a_permit(2)) == 2
    assert store.sizes == [2]
    noted = time.monotonic()
    journal.note(an_outcome(2))
    await asyncio.sleep(max(0.0, begun + 0.4 - time.monotonic()))
    if time.monotonic() < noted + 0.3:
        assert store.sizes == [2]
    while journal.status().size < 3 and time.monotonic() < noted + 10:
        await asyncio.sleep(0.01)
    assert store.sizes == [2, 1]
    assert time.monotonic() - noted >= 0.3
    await journal.close()


async def test_a_noted_record_that_is_lost_is_told_and_logged(
    made: JournalFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever measures hears of it, the log has the number, and whoever waited beside it got the error."""
    watching = Watching()
    journal = made.open(lambda: NOW, watching)
    with sqlite3.connect(made.path) as intruder:
        intruder.execute("INSERT INTO facet (seq, kind) VALUES (1, 1), (2, 1)")
    with caplog.at_level(logging.ERROR, "perhop.journal"):
        journal.note(an_outcome(1))
        with pytest.raises(JournalUnavailable):
            await journal.append(a_permit(2))
    assert watching.heard == [("call.ended", False), ("call.permitted", False)]
    assert "1 records for which nobody waited were not written" in caplog.text
    intruder.execute("DELETE FROM facet")
    intruder.commit()
    intruder.close()
    await journal.close()


async def test_a_closed_journal_takes_no_note(made: JournalFolder) -> None:
    """It says so at once, and tells whoever measures."""
    watching = Watching()
    journal = made.open(lambda: NOW, watching)
    await journal.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        journal.note(an_outcome(1))
    assert watching.heard == [("call.ended", False)]


async def test_as_many_records_at_once_as_there_are(made: JournalFolder) -> None:
    """Batches of every size are written whole: none is left out where a statement of many rows ends."""
    async with made.writing(lambda: NOW) as journal:
        done = 0
        for size in (1, 7, 8, 9, 31, 32, 33, 127, 128, 129, 200):
            seqs = await asyncio.gather(*(journal.append(a_permit(done + each)) for each in range(size)))
            done += size
            assert max(seqs) == done
    found = made.verify()
    assert (found.ok, found.records) == (True, done)
