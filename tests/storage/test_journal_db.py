"""The journal on disk: appends that are durable, faults that close it and pass, one writer, many readers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from perhop.errors import JournalDamaged, JournalUnavailable, NotFound, OperatorError
from perhop.journal.checkpoint import parse_checkpoint
from perhop.journal.query import Filter
from perhop.journal.record import Event, Record
from perhop.journal.writer import Journal
from perhop.storage.journal_db import JournalDatabase, checkpoint_path, create_journal, open_journal
from perhop.storage.journal_reader import JournalQueries
from tests.support.journals import JournalFolder, a_permit, a_refusal, make_journal, until

ROOT = Path(__file__).parents[2]
NOW = 1_790_000_000.0


@pytest.fixture
def made(tmp_path: Path) -> JournalFolder:
    return make_journal(tmp_path)


def _call_ids(made: JournalFolder) -> list[str]:
    with made.queries() as reader:
        return [each.part("call")["id"] for each in reader.find(Filter(event="call.permitted"))]


# --- appending -------------------------------------------------------------------------------------------------------


async def test_numbers_go_up_by_one_from_one(made: JournalFolder) -> None:
    """`append` answers with the record's number, which is also in its body."""
    async with made.writing() as journal:
        assert [await journal.append(a_permit(number)) for number in range(3)] == [1, 2, 3]
    with made.queries() as reader:
        assert [each.fields["seq"] for each in reader.find(Filter())] == [1, 2, 3]


async def test_two_hundred_at_once(made: JournalFolder) -> None:
    """Parallel appends get different numbers, all are there, in one journal that verifies."""
    async with made.writing() as journal:
        seqs = await asyncio.gather(*(journal.append(a_permit(number)) for number in range(200)))
    assert sorted(seqs) == list(range(1, 201))
    assert sorted(_call_ids(made)) == sorted(f"call-{number}" for number in range(200))
    assert made.verify().ok
    with made.queries() as reader:
        assert [reader.record(seq).part("call")["id"] for seq in seqs] == [  # type: ignore[union-attr]
            f"call-{number}" for number in range(200)
        ]


async def test_an_append_is_on_disk_when_it_returns(made: JournalFolder, tmp_path: Path) -> None:
    """A copy of the files taken right after `append` holds the record: nothing waits in memory."""
    copy = tmp_path / "copy"
    copy.mkdir()
    async with made.writing() as journal:
        await journal.append(a_permit())
        for file in tmp_path.glob("journal.db*"):
            shutil.copy(file, copy)
    with JournalQueries(copy / "journal.db") as reader:
        assert reader.size() == 1


def test_the_writer_syncs_every_commit(made: JournalFolder) -> None:
    """Durability against power loss is SQLite's FULL in WAL mode, on every connection that writes."""
    store = JournalDatabase(made.path)
    store.load()
    assert store._connection is not None
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


async def test_a_journal_goes_on_where_it_stopped(made: JournalFolder) -> None:
    """Closed and opened again, the tree is the same one and grows."""
    for start in (0, 100, 200):
        async with made.writing() as journal:
            await asyncio.gather(*(journal.append(a_permit(start + number)) for number in range(70)))
    found = made.verify()
    assert (found.ok, found.records, found.signed) == (True, 210, 210)


async def test_a_cancelled_caller_harms_nobody(made: JournalFolder) -> None:
    """Records of callers that were cancelled are kept, and those of the others, too."""
    async with made.writing() as journal:
        tasks = [asyncio.create_task(journal.append(a_permit(number))) for number in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in results[::2])
        assert await journal.append(a_permit(99)) == 41
    assert len(_call_ids(made)) == 41
    assert made.verify().ok


async def test_a_record_that_cannot_be_written_harms_nobody(made: JournalFolder) -> None:
    """A record that is no JSON fails for its caller alone, and takes no number."""
    async with made.writing() as journal:
        good = asyncio.create_task(journal.append(a_permit(1)))
        with pytest.raises(TypeError):
            await journal.append(Record(event=Event.CONFIG_LOADED, about={"set": {1}}))
        assert await good == 1
        assert await journal.append(a_permit(2)) == 2
        assert journal.healthy


async def test_after_close_nothing_is_recorded(made: JournalFolder) -> None:
    """A closed journal refuses, and closing twice is harmless."""
    journal = made.open()
    await journal.close()
    await journal.close()
    with pytest.raises(JournalUnavailable):
        await journal.append(a_permit())
    with pytest.raises(JournalUnavailable):
        await journal.append_refusal(a_refusal(), address="192.0.2.7")
    assert not journal.healthy


async def test_what_waits_at_close_is_written(made: JournalFolder) -> None:
    """`close` writes the records that were already handed in."""
    journal = made.open()
    tasks = [asyncio.create_task(journal.append(a_permit(number))) for number in range(50)]
    await asyncio.sleep(0)
    await journal.close()
    assert sorted(await asyncio.gather(*tasks)) == list(range(1, 51))
    assert made.verify().signed == 50


# --- checkpoints -----------------------------------------------------------------------------------------------------


async def test_a_checkpoint_at_the_end(made: JournalFolder) -> None:
    """A closed journal is signed to its last record, in the file and beside it."""
    async with made.writing() as journal:
        await journal.append(a_permit())
        await journal.append(a_permit(2))
    note = checkpoint_path(made.path).read_text()
    assert parse_checkpoint(note).size == 2
    with made.queries() as reader:
        assert reader.last_checkpoint() == note


async def test_a_quiet_journal_is_signed_soon(made: JournalFolder) -> None:
    """Nobody has to append anything for the last records to be signed and published."""
    async with made.writing() as journal:
        await journal.append(a_permit())
        await journal.append(a_permit())
        await until(lambda: journal.status().signed == 2)
        await until(lambda: _published_size(made.path) == 2)


def _published_size(path: Path) -> int:
    """The size that the published checkpoint signs; 0 until one is published."""
    published = checkpoint_path(path)
    return parse_checkpoint(published.read_text()).size if published.exists() else 0


async def test_fewer_than_sixty_four_records_are_unsigned(made: JournalFolder) -> None:
    """However many records are appended, fewer than 64 of them ever stand after the last checkpoint."""
    async with made.writing() as journal:
        for start in range(0, 320, 40):
            await asyncio.gather(*(journal.append(a_permit(start + number)) for number in range(40)))
            status = journal.status()
            assert status.size - status.signed < 64


async def test_verifies_while_it_is_being_written(made: JournalFolder) -> None:
    """A running journal verifies, from the outside, at any moment."""
    async with made.writing() as journal:
        for start in range(0, 200, 50):
            await asyncio.gather(*(journal.append(a_permit(start + number)) for number in range(50)))
            found = await asyncio.to_thread(made.verify)
            assert (found.ok, found.records) == (True, start + 50)


# --- faults ----------------------------------------------------------------------------------------------------------


def _acknowledged(output: str) -> list[str]:
    # A line that the kill cut off is no acknowledgement that anybody read.
    return [line.split()[1] for line in output.splitlines(keepends=True) if line.startswith("ack") and line[-1] == "\n"]


def _writer(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.journal_writer", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_disk_runs_full_and_is_emptied(made: JournalFolder) -> None:
    """With no room left every append is a 503, and with room again the same process goes on; nothing is lost."""
    process = _writer(made.folder)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "full 503 False\n" * 3 in output
    assert output.endswith("healthy True\n")
    acknowledged = _acknowledged(output)
    assert len(acknowledged) > 100
    assert set(acknowledged) <= set(_call_ids(made))
    assert made.verify().ok


async def test_a_failed_commit_is_told_and_passes(made: JournalFolder) -> None:
    """A commit that fails tells every waiter, rolls the tree back, and the next one succeeds by itself."""
    async with made.writing() as journal:
        await journal.append(a_permit(1))
        intruder = sqlite3.connect(made.path, isolation_level=None)
        # The record that comes next is there already: as after a commit that failed but had reached the disk.
        intruder.execute("INSERT INTO leaf (seq, hash) VALUES (2, x'00')")
        failed = await asyncio.gather(*(journal.append(a_permit(n)) for n in range(2, 5)), return_exceptions=True)
        assert all(isinstance(each, JournalUnavailable) for each in failed)
        status = journal.status()
        assert not status.healthy
        assert status.problem
        intruder.execute("DELETE FROM leaf WHERE seq = 2")
        intruder.close()
        assert await journal.append(a_permit(5)) == 2
        assert journal.healthy
    assert made.verify().ok


async def test_several_records_are_settled_when_one_is_told(made: JournalFolder) -> None:
    """While the file is locked, a single append loses its patience; several records wait, and are on disk together."""
    locked = sqlite3.connect(made.path, isolation_level=None)
    store = JournalDatabase(made.path)
    journal = Journal(store, key=made.key, clock=lambda: NOW, patience_seconds=0.05)
    try:
        locked.execute("BEGIN IMMEDIATE")
        together = asyncio.create_task(journal.append_all([a_permit(number) for number in range(3)]))
        with pytest.raises(JournalUnavailable):
            await journal.append(a_permit(3))
        assert not together.done()
        locked.execute("ROLLBACK")
        await together
        assert sorted(_call_ids(made)) == ["call-0", "call-1", "call-2", "call-3"]
    finally:
        locked.close()
        await journal.close()


async def test_a_journal_that_failed_gets_well_by_itself(made: JournalFolder) -> None:
    """Readiness comes back without an append, since nobody would send one to a server that is not ready."""
    async with made.writing() as journal:
        intruder = sqlite3.connect(made.path, isolation_level=None)
        intruder.execute("INSERT INTO leaf (seq, hash) VALUES (1, x'00')")
        with pytest.raises(JournalUnavailable):
            await journal.append(a_permit(1))
        intruder.execute("DELETE FROM leaf WHERE seq = 1")
        intruder.close()
        await until(lambda: journal.healthy)
    assert made.verify().records == 0


async def test_a_journal_that_vanished_is_not_made_anew(made: JournalFolder) -> None:
    """When the file is gone after a fault, appends fail: no empty journal takes its place."""
    async with made.writing() as journal:
        await journal.append(a_permit(1))
        intruder = sqlite3.connect(made.path, isolation_level=None)
        intruder.execute("DROP TABLE leaf")
        intruder.close()
        for file in made.folder.glob("journal.db*"):
            if not file.name.endswith(".lock"):
                file.rename(made.folder / f"gone-{file.name}")
        for _ in range(2):
            with pytest.raises(JournalUnavailable):
                await journal.append(a_permit(2))
    assert not made.path.exists()


# --- opening ---------------------------------------------------------------------------------------------------------


def test_a_wrong_path_is_an_error(made: JournalFolder, tmp_path: Path) -> None:
    """Opening never creates: a mistyped path is no fresh journal."""
    missing = tmp_path / "elsewhere.db"
    with pytest.raises(NotFound):
        open_journal(missing, key=made.key, clock=lambda: NOW)
    with pytest.raises(NotFound):
        JournalQueries(missing)
    assert not list(tmp_path.glob("elsewhere*"))


def test_a_journal_is_not_overwritten(made: JournalFolder) -> None:
    """Creating refuses where a journal is."""
    with pytest.raises(OperatorError, match="there already"):
        create_journal(made.path, key=made.key)


def test_a_new_journal_is_the_owners_and_verifies(made: JournalFolder) -> None:
    """An empty journal has mode 0600, a signed checkpoint over nothing, and verifies."""
    assert made.path.stat().st_mode & 0o777 == 0o600
    found = made.verify()
    assert (found.ok, found.records, found.first_bad) == (True, 0, None)


async def test_a_second_writer_is_refused(made: JournalFolder) -> None:
    """One writer at a time, also across processes; when it is gone, the next may write."""
    async with made.writing():
        with pytest.raises(OperatorError, match="another process writes"):
            made.open()
        process = _writer(made.folder)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "another process writes" in errors
    async with made.writing() as journal:
        assert await journal.append(a_permit()) == 1


def test_another_programs_database_is_refused(made: JournalFolder, tmp_path: Path) -> None:
    """A file that is no journal is neither written nor read as one."""
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE record (seq, body)").connection.close()
    with pytest.raises(JournalDamaged, match="not a journal"):
        open_journal(other, key=made.key, clock=lambda: NOW)
    with pytest.raises(JournalDamaged, match="not a journal"), JournalQueries(other) as reader:
        reader.size()
    other.write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalDamaged):
        open_journal(other, key=made.key, clock=lambda: NOW)


async def _fill(made: JournalFolder, count: int = 5) -> None:
    async with made.writing() as journal:
        await asyncio.gather(*(journal.append(a_permit(number)) for number in range(count)))


def _change(made: JournalFolder, *statements: str) -> None:
    connection = sqlite3.connect(made.path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE record SET body = replace(body, 'call-3', 'call-9') WHERE seq = 4", "record 4"),
        ("DELETE FROM record WHERE seq = 4", "record 4"),
        ("DELETE FROM leaf WHERE seq = 2", "record 2"),
        ("DELETE FROM record WHERE seq > 3", "ends at record 3"),
        ("UPDATE checkpoint SET note = replace(note, '5', '4') WHERE size = 5", "does not verify"),
        ("UPDATE frontier SET size = 4, hashes = zeroblob(32)", "not the one that its last checkpoint signs"),
        ("DELETE FROM frontier", "no checkpoint"),
        ("DELETE FROM checkpoint", "no checkpoint"),
    ],
)
async def test_a_damaged_end_is_not_continued(made: JournalFolder, statement: str, problem: str) -> None:
    """The writer refuses to sign on top of records that were changed, and names what it found."""
    await _fill(made)
    _change(made, statement)
    with pytest.raises(JournalDamaged, match=problem):
        made.open()


async def test_a_journal_put_back_to_an_earlier_state_is_noticed(made: JournalFolder, tmp_path: Path) -> None:
    """An older copy is refused while the newer published checkpoint lies beside it."""
    await _fill(made)
    older = shutil.copy(made.path, tmp_path / "older.db")
    await _fill(made)
    shutil.copy(older, made.path)
    with pytest.raises(JournalDamaged, match="a checkpoint over 10 was published"):
        made.open()
    checkpoint_path(made.path).unlink()
    async with made.writing() as journal:
        assert await journal.append(a_permit()) == 6


async def test_another_key_does_not_continue_a_journal(made: JournalFolder, tmp_path: Path) -> None:
    """A journal is continued with the key that signed it."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = make_journal(other)
    with pytest.raises(JournalDamaged, match="not signed by"):
        open_journal(made.path, key=stranger.key, clock=lambda: NOW)


# --- suppression -----------------------------------------------------------------------------------------------------


async def test_a_flood_of_refusals_becomes_one_counted_record(made: JournalFolder) -> None:
    """Ten stand alone, the rest of the second is one record with their number, written without another append."""
    now = [NOW]
    async with made.writing(clock=lambda: now[0]) as journal:
        answers = [await journal.append_refusal(a_refusal(), address="192.0.2.7") for _ in range(25)]
        assert answers == [*range(1, 11), *[None] * 15]
        now[0] = NOW + 1
        await until(lambda: journal.status().size == 11)
    with made.queries() as reader:
        counted = reader.record(11)
    assert counted is not None
    assert counted.fields["event"] == "journal.suppressed"
    assert counted.fields["reason"] == "token.signature"
    assert counted.part("request") == {"ip": "192.0.2.7"}
    assert counted.part("about")["count"] == 15


async def test_a_count_is_written_at_close(made: JournalFolder) -> None:
    """Closing in the middle of a second loses no count."""
    async with made.writing(clock=lambda: NOW) as journal:
        for _ in range(12):
            await journal.append_refusal(a_refusal(), address="192.0.2.7")
    with made.queries() as reader:
        assert [each.part("about")["count"] for each in reader.find(Filter(event="journal.suppressed"))] == [2]
    assert made.verify().ok


async def test_a_count_outlives_a_fault(made: JournalFolder) -> None:
    """What was counted while the journal could not write is written when it can again."""
    now = [NOW]
    async with made.writing(clock=lambda: now[0]) as journal:
        for _ in range(13):
            await journal.append_refusal(a_refusal(), address="192.0.2.7")
        intruder = sqlite3.connect(made.path, isolation_level=None)
        intruder.execute("INSERT INTO leaf (seq, hash) VALUES (11, x'00')")
        now[0] = NOW + 1
        await until(lambda: not journal.healthy)
        intruder.execute("DELETE FROM leaf WHERE seq = 11")
        intruder.close()
        await until(lambda: journal.status().size == 11)
    with made.queries() as reader:
        assert [each.part("about")["count"] for each in reader.find(Filter(event="journal.suppressed"))] == [3]


def test_bodies_are_text(made: JournalFolder) -> None:
    """Other programs find table `record(seq, body)`, and `body` is JSON text."""
    asyncio.run(_fill(made))
    connection = sqlite3.connect(made.path)
    columns = [each[1] for each in connection.execute("PRAGMA table_info(record)")]
    rows = connection.execute("SELECT seq, body, typeof(body) FROM record ORDER BY seq").fetchall()
    connection.close()
    assert columns == ["seq", "body"]
    assert [(seq, json.loads(body)["seq"], kind) for seq, body, kind in rows] == [(n, n, "text") for n in range(1, 6)]
