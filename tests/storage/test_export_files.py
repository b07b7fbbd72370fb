"""Exports lose nothing, whatever stops them, and say so when they cannot go on."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perhop.errors import ExportFailed
from perhop.journal.export.feed import BATCH, Feed
from perhop.journal.export.json_lines import render_json_line
from perhop.storage.export_files import AppendedFile, CursorFile
from perhop.storage.journal_reader import JournalQueries
from tests.support.journals import JournalFolder, a_permit, make_journal


async def _write(made: JournalFolder, count: int) -> None:
    async with made.writing() as journal:
        for number in range(count):
            await journal.append(a_permit(number))


def _feed(made: JournalFolder, reader: JournalQueries) -> Feed:
    return Feed(
        reader=reader,
        render=render_json_line,
        place=AppendedFile(made.folder / "out.jsonl"),
        cursor=CursorFile(made.folder / "out.cursor"),
    )


def _exported(made: JournalFolder) -> list[int]:
    lines = (made.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["seq"] for line in lines]


async def test_each_record_comes_once_in_order_over_several_runs(tmp_path: Path) -> None:
    """What came since the last run is added; the bytes are the record's own."""
    made = make_journal(tmp_path)
    await _write(made, 3)
    with made.queries() as reader:
        assert _feed(made, reader).pump() == 0
    await _write(made, 2)
    with made.queries() as reader:
        assert _feed(made, reader).pump() == 0
        assert _feed(made, reader).pump() == 0
        assert _exported(made) == [1, 2, 3, 4, 5]
        bodies = [entry.body for entry in reader.tail(5)]
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines() == bodies
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_batch_at_a_time_says_how_much_waits(tmp_path: Path) -> None:
    """A long journal is exported in pieces, and each piece is safe before the next begins."""
    made = make_journal(tmp_path)
    async with made.writing() as journal:
        for number in range(BATCH + 7):
            await journal.append(a_permit(number))
    with made.queries() as reader:
        feed = _feed(made, reader)
        assert feed.pump() == 7
        assert json.loads((tmp_path / "out.cursor").read_text(encoding="ascii")) == {"seq": BATCH}
        assert feed.pump() == 0
    assert _exported(made) == list(range(1, BATCH + 8))


@pytest.mark.parametrize("torn", [b'{"seq":3,"half', b"x" * 200_000])
async def test_a_line_that_a_crash_tore_is_written_again_whole(tmp_path: Path, torn: bytes) -> None:
    """The end of a line that never came whole is taken off, and its record comes again."""
    made = make_journal(tmp_path)
    await _write(made, 2)
    with made.queries() as reader:
        _feed(made, reader).pump()
    with (tmp_path / "out.jsonl").open("ab") as file:
        file.write(torn)
    await _write(made, 1)
    with made.queries() as reader:
        _feed(made, reader).pump()
    assert _exported(made) == [1, 2, 3]


async def test_a_crash_before_the_cursor_moved_repeats_and_loses_nothing(tmp_path: Path) -> None:
    """At least once: the number of each record tells what came twice."""
    made = make_journal(tmp_path)
    await _write(made, 2)
    with made.queries() as reader:
        _feed(made, reader).pump()
        (tmp_path / "out.cursor").write_text('{"seq": 1}', encoding="ascii")
        _feed(made, reader).pump()
    assert _exported(made) == [1, 2, 2]


async def test_what_stands_in_the_way_is_told_and_nothing_is_skipped(tmp_path: Path) -> None:
    """A place that cannot be written, a cursor that is none, and a journal that was cut are errors, with advice."""
    made = make_journal(tmp_path)
    await _write(made, 2)
    (tmp_path / "out.jsonl").mkdir()
    with made.queries() as reader:
        with pytest.raises(ExportFailed, match="cannot be written"):
            _feed(made, reader).pump()
        assert not (tmp_path / "out.cursor").exists()
        (tmp_path / "out.jsonl").rmdir()
        (tmp_path / "out.cursor").write_text("[]", encoding="ascii")
        with pytest.raises(ExportFailed, match="is not a cursor"):
            _feed(made, reader).pump()
        (tmp_path / "out.cursor").write_text('{"seq": 9}', encoding="ascii")
        with pytest.raises(ExportFailed, match="it was cut") as failed:
            _feed(made, reader).pump()
    assert "checkpoint" in failed.value.advice()


@pytest.mark.parametrize(
    "held",
    [
        b'{"keep":"me"}',
        b'{\n  "keep": "me"\n}',
        b'{"keep":"me"}\n{"keep":"me too"}',
        b"SQLite format 3\x00 and\nmore",
        b"keep me\n",
        b'{"seq":9,"half',
    ],
)
async def test_a_file_of_somebody_else_stays_as_it_is(tmp_path: Path, held: bytes) -> None:
    """What holds no lines of ours is named, with what to do, and neither cut nor appended to."""
    made = make_journal(tmp_path)
    await _write(made, 2)
    (tmp_path / "out.jsonl").write_bytes(held)
    with made.queries() as reader, pytest.raises(ExportFailed, match=r"out.jsonl` holds something else") as failed:
        _feed(made, reader).pump()
    assert "name another file" in failed.value.advice()
    assert (tmp_path / "out.jsonl").read_bytes() == held
    assert not (tmp_path / "out.cursor").exists()


@pytest.mark.parametrize("missing", [1, 40])
async def test_a_crash_in_the_first_line_of_all_is_mended(tmp_path: Path, missing: int) -> None:
    """Half a first record, or all but its newline, is written again whole: it goes on as we would write it."""
    made = make_journal(tmp_path)
    await _write(made, 1)
    with made.queries() as reader:
        _feed(made, reader).pump()
        whole = (tmp_path / "out.jsonl").read_bytes()
        (tmp_path / "out.jsonl").write_bytes(whole[:-missing])
        (tmp_path / "out.cursor").unlink()
        _feed(made, reader).pump()
    assert (tmp_path / "out.jsonl").read_bytes() == whole


def test_two_who_append_to_one_file_lose_no_line(tmp_path: Path) -> None:
    """Each batch is whole in the file, whoever else writes there at the same moment."""
    path = tmp_path / "out.jsonl"

    def write(who: int) -> None:
        place = AppendedFile(path)
        for number in range(50):
            place.write([json.dumps({"who": who, "number": number, "half": half}) for half in (1, 2)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for who in range(4):
        mine = [(each["number"], each["half"]) for each in lines if each["who"] == who]
        assert mine == [(number, half) for number in range(50) for half in (1, 2)]
    assert [each["half"] for each in lines] == [1, 2] * 200
