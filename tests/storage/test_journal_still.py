"""A journal that nobody wrote when a reading of all of it began, and that somebody writes meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perhop.cli.journal_verify import verify
from perhop.errors import JournalDamaged, JournalUnavailable
from perhop.storage.journal_reader import JournalSnapshot
from tests.support.journals import JournalFolder, a_permit, make_journal

SIZE = 150


async def _write(made: JournalFolder) -> None:
    async with made.writing() as journal:
        await asyncio.gather(*(journal.append(a_permit(number)) for number in range(SIZE)))


@pytest.fixture
def made(tmp_path: Path) -> JournalFolder:
    folder = make_journal(tmp_path)
    asyncio.run(_write(folder))
    return folder


def _written_meanwhile(made: JournalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a writer come and go when the first look at the file has read its rows."""
    count, once = JournalSnapshot.leaf_count, iter([None])

    def leaf_count(snapshot: JournalSnapshot) -> int:
        for _ in once:
            asyncio.run(_write(made))
        return count(snapshot)

    monkeypatch.setattr(JournalSnapshot, "leaf_count", leaf_count)


def test_a_writer_that_comes_meanwhile_is_no_damage(
    made: JournalFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that began while nobody wrote looks again, at all that is there by then."""
    (made.folder / "vkey").write_text(made.key.verify_key.vkey())
    _written_meanwhile(made, monkeypatch)
    verify(made.path, public_key=made.folder / "vkey")
    assert f"ok: {2 * SIZE} records" in capsys.readouterr().out


def test_a_journal_that_is_written_at_every_look_is_asked_for_again(made: JournalFolder) -> None:
    """It ends with an error that says so, and neither with an answer nor with damage."""

    def look() -> None:
        snapshot.base()
        asyncio.run(_write(made))
        raise JournalDamaged("what was read does not hold together")

    with JournalSnapshot(made.path) as snapshot, pytest.raises(JournalUnavailable, match="ask again"):
        snapshot.undisturbed(look)


def test_damage_of_a_file_that_nobody_writes_is_damage(made: JournalFolder) -> None:
    """A second look is for what a writer may have done, and for nothing else."""

    def look() -> None:
        snapshot.base()
        raise JournalDamaged("it is broken")

    with JournalSnapshot(made.path) as snapshot, pytest.raises(JournalDamaged):
        snapshot.undisturbed(look)
