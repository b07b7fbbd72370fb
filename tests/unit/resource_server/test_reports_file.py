"""Reports on disk: whoever writes has an answer, whatever the file's other users do, and what is refused fills it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from perhop.core.resource import ResourceUri
from perhop.errors import JournalUnavailable, PerhopError, ReplayUnavailable, SettingsError
from perhop.resource_server import SqliteReplay
from perhop.resource_server.reports_file import ReportsFile
from tests.unit.resource_server.test_replay import a_token, in_child

PATIENCE_SECONDS = 20.0
RESOURCE = ResourceUri("https://mcp.example.com/mcp")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ReportsFile]:
    made = ReportsFile(tmp_path / "reports.db", max_waiting=3)
    made.open()
    yield made
    made.close()


def written(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [body for (body,) in connection.execute("SELECT body FROM report ORDER BY number")]


async def test_a_file_that_is_closed_again_and_again_loses_no_report(tmp_path: Path) -> None:
    """Twenty write, and another one closes: each has its answer, and what was told to be on disk is on disk."""
    file = ReportsFile(tmp_path / "reports.db")
    file.open()
    told: list[str] = []
    is_over = False

    async def write_on(name: int) -> None:
        number = 0
        while not is_over:
            number += 1
            await file.write(f"{name}-{number}")
            told.append(f"{name}-{number}")

    async with asyncio.timeout(PATIENCE_SECONDS):
        writers = [asyncio.create_task(write_on(name)) for name in range(20)]
        for _ in range(30):
            await asyncio.sleep(0.01)
            await asyncio.to_thread(file.close)
        is_over = True
        await asyncio.gather(*writers)
    await asyncio.to_thread(file.close)
    assert sorted(written(file.path)) == sorted(told)


async def test_closing_writes_what_nobody_waits_for(file: ReportsFile) -> None:
    """What was offered is on disk when the file is closed; a later report opens it again."""
    for _ in range(2):
        file.offer("nobody waits")
        await asyncio.to_thread(file.close)
    assert written(file.path) == ["nobody waits"] * 2
    await file.write("later")
    assert written(file.path)[2:] == ["later"]


async def test_a_forked_child_writes_reports_of_its_own(file: ReportsFile) -> None:
    """The writing thread is the parent's: the child begins one, and both go on."""
    await file.write("parent's")
    assert in_child(lambda: str(asyncio.run(file.write("child's")))) == "None"
    await file.write("parent's again")
    assert written(file.path) == ["parent's", "child's", "parent's again"]


async def test_reports_that_were_set_aside_fill_the_file(file: ReportsFile, caplog: pytest.LogCaptureFixture) -> None:
    """A journal that refuses everything is a journal that has nothing: closed, said once, until somebody sees to it."""
    for number in range(3):
        await file.write(str(number))
        found = file.oldest(10, max_bytes=1000)
        file.delivered(found, refused={each.number: "not served" for each in found})
    assert file.waiting() == 0
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="set aside"):
            await file.write("one too many")
    assert [each.message for each in caplog.records if "counts against" in each.message] == [
        f"`{file.path}`: what was set aside counts against `max_waiting`: 1 reports"
    ]
    with closing(sqlite3.connect(file.path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM set_aside")
    await file.write("again")


async def test_a_writer_that_cannot_go_on_answers(file: ReportsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in the writing thread, whoever waits hears of it, and the next report is written."""
    with monkeypatch.context() as broken:
        broken.setattr(ReportsFile, "_carry_out", lambda *_: 1 / 0)
        with pytest.raises(JournalUnavailable, match="ZeroDivisionError"):
            await asyncio.wait_for(file.write("lost"), PATIENCE_SECONDS)
    await asyncio.wait_for(file.write("kept"), PATIENCE_SECONDS)


@contextmanager
def without_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


async def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    """A new file and what SQLite puts beside it have mode 0600, whatever the umask is."""
    with without_umask():
        reports, replay = ReportsFile(tmp_path / "reports.db"), SqliteReplay(tmp_path / "used.db")
        reports.open()
        replay.start(RESOURCE)
        await reports.write("one")
        await replay.use(a_token(issued_at=2_000_000_000))
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    assert len(modes) == 6
    assert set(modes.values()) == {0o600}
    reports.close()
    replay.stop()


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
async def test_a_file_that_others_may_read_is_refused(tmp_path: Path, end: str) -> None:
    """At the start and later, with its name and what to do; its companions hold the same."""
    reports, replay = ReportsFile(tmp_path / "reports.db"), SqliteReplay(tmp_path / "used.db")
    reports.open()
    replay.start(RESOURCE)
    for name in ("reports.db", "used.db"):
        (tmp_path / f"{name}{end}").chmod(0o644)
    for start, name in (
        (ReportsFile(tmp_path / "reports.db").open, "reports.db"),
        (lambda: SqliteReplay(tmp_path / "used.db").start(RESOURCE), "used.db"),
    ):
        with pytest.raises(SettingsError, match=f"{name}{end}`") as refused:
            start()
        assert f"chmod 600 {tmp_path / name}{end}" in refused.value.advice()
    reports.close()
    replay.stop()


async def test_a_file_that_is_opened_to_others_while_it_is_closed_is_not_used(tmp_path: Path) -> None:
    """Found when it is opened again: no report is written, and no token is taken."""
    reports, replay = ReportsFile(tmp_path / "reports.db"), SqliteReplay(tmp_path / "used.db")
    reports.open()
    replay.start(RESOURCE)
    reports.close()
    replay.stop()
    for name in ("reports.db", "used.db"):
        (tmp_path / name).chmod(0o640)
    failed: list[type[PerhopError]] = []
    for use in (reports.write("one"), replay.use(a_token(issued_at=2_000_000_000))):
        with pytest.raises(PerhopError, match="others may read") as refused:
            await use
        failed.append(refused.type)
    assert failed == [JournalUnavailable, ReplayUnavailable]
