"""Sealed segments and the cut: what leaves the live file stays evidence, and a crash at any point loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perhop.errors import ExportFailed, JournalDamaged, JournalUnavailable, NotFound, OperatorError
from perhop.journal.archived import Archived, segment_name
from perhop.journal.archived_part import archived_part
from perhop.journal.export.feed import Feed
from perhop.journal.proof import check_proof, make_proof
from perhop.journal.query import Filter
from perhop.journal.record import Record
from perhop.journal.store import Cut, SignedTree
from perhop.journal.tree import Frontier
from perhop.storage.export_files import CursorInMemory
from perhop.storage.journal_db import SWEPT_AT_ONCE
from perhop.storage.journal_reader import JournalQueries
from perhop.storage.journal_segment import check_ends, read_ends, sha256_of, write_segment
from tests.support import recursive_tree
from tests.support.archives import (
    FIRST,
    SECOND,
    all_leaves,
    archive_of,
    archive_some,
    change_file,
    checkpoint_after,
    cut_at,
    rows_of,
    segment_of,
    sweep,
    verify_all,
    verify_file,
    write_calls,
    write_next_segment,
)
from tests.support.journals import JournalFolder, a_permit, make_journal

ROOT = Path(__file__).parents[2]


# --- what is good ----------------------------------------------------------------------------------------------------


def test_segments_and_live_file_are_one_history(archived_original: JournalFolder) -> None:
    """Each file verifies alone and all of them as one; the root is the one of RFC 9162 over every body."""
    chain = verify_all(archived_original, archive_of(archived_original))
    leaves = all_leaves(archived_original)
    assert (chain.ok, chain.problem, chain.records, chain.first_bad) == (True, "", len(leaves), None)
    assert [(each.archived.first, each.archived.last) for each in chain.links] == [FIRST, SECOND]
    assert chain.live.root == recursive_tree.root(leaves).hex()
    for ends in (FIRST, SECOND):
        found = verify_file(archived_original, segment_of(archived_original, ends))
        assert (found.ok, found.first, found.last, found.is_sealed) == (True, *ends, True)
        assert found.root == recursive_tree.root(leaves[: ends[1]]).hex()
    assert (chain.live.first, chain.live.last, chain.live.is_sealed) == (SECOND[1] + 1, len(leaves), False)


def test_a_segment_is_whole_and_read_only(archived_original: JournalFolder) -> None:
    """It has the tables, facets and header of a journal, mode 0400, and nothing beside it."""
    segment = segment_of(archived_original, FIRST)
    assert segment.stat().st_mode & 0o777 == 0o400
    assert {each.name for each in segment.parent.iterdir()} == {segment_name(*ends) for ends in (FIRST, SECOND)}
    with JournalQueries(segment) as reader:
        assert reader.size() == FIRST[1]
        assert reader.is_sealed()
        assert len(list(reader.find(Filter(event="call.permitted")))) == 75
        assert reader.token_by_jti("out-3") is not None


def test_what_was_archived_left_the_file(archived_original: JournalFolder) -> None:
    """No table has rows of before the base, and the file does not keep their room."""
    base = SECOND[1]
    for table, key in (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size")):
        assert rows_of(archived_original.path, f"SELECT count(*) FROM {table} WHERE {key} <= {base}") == [(0,)]
    assert rows_of(archived_original.path, "PRAGMA freelist_count") == [(0,)]


def test_the_cut_is_on_record(archived_original: JournalFolder) -> None:
    """A record says which records left, under which root, into which file with which digest."""
    with archived_original.queries() as reader:
        said = [Archived.of(each.fields) for each in reader.find(Filter(event="journal.archived"))]
        part = archived_part(reader)
    (archived,) = said
    assert archived is not None
    assert (archived.first, archived.last, archived.file) == (*SECOND, segment_name(*SECOND))
    assert archived.sha256 == sha256_of(segment_of(archived_original, SECOND))
    assert part is not None
    assert (part.records, part.files) == (SECOND[1], (segment_name(*SECOND),))


@pytest.mark.parametrize("seq", [1, 77, 150, 151, 200, 311, 312, 313, 350, 402])
def test_every_record_can_be_proved(archived_original: JournalFolder, seq: int) -> None:
    """With its file alone, live or sealed, a record has the path of the definition over the whole history."""
    leaves = all_leaves(archived_original)
    segments = [(ends[1], segment_of(archived_original, ends)) for ends in (FIRST, SECOND)]
    file = next((path for last, path in segments if seq <= last), archived_original.path)
    size = next((ends[1] for ends in (FIRST, SECOND) if seq <= ends[1]), len(leaves))
    with JournalQueries(file) as reader:
        proof = make_proof(reader, seq)
    assert check_proof(proof, archived_original.key.verify_key)["seq"] == seq
    siblings = [each.hex() for each in recursive_tree.path(seq - 1, leaves[:size])]
    assert [_hex(each) for each in proof["path"]] == siblings


def _hex(encoded: str) -> str:
    import base64

    return base64.b64decode(encoded).hex()


def test_an_archived_record_is_proved_elsewhere(archived_original: JournalFolder) -> None:
    """The live file names the segment that holds it, and an unknown record stays unknown."""
    with archived_original.queries() as reader:
        with pytest.raises(NotFound, match="record 200 is archived") as refused:
            make_proof(reader, 200)
        assert segment_name(*SECOND) in refused.value.advice()
        with pytest.raises(NotFound, match="no record 999"):
            make_proof(reader, 999)


def test_the_writer_goes_on_after_a_cut(archived_copy: JournalFolder) -> None:
    """Numbers and tree go on without a break over a new start, even of a file that was cut to almost nothing."""
    archive_some(archived_copy, archive_of(archived_copy), upto=402)
    assert asyncio.run(_append_one(archived_copy)) == 404
    chain = verify_all(archived_copy, archive_of(archived_copy))
    assert (chain.ok, chain.records, chain.live.first, chain.live.records) == (True, 404, 403, 2)


async def _append_one(made: JournalFolder) -> int:
    async with made.writing() as journal:
        return await journal.append(a_permit(-1))


# --- writing a segment -----------------------------------------------------------------------------------------------


def test_a_journal_that_does_not_verify_is_not_archived(uncut: JournalFolder) -> None:
    """The segment is verified before anything is cut: a changed record stops it, and no file is left."""
    change_file(uncut.path, "UPDATE record SET body = replace(body, 'tools/call', 'tools/cald') WHERE seq = 41")
    with pytest.raises(JournalDamaged, match="nothing was archived: record 41"):
        write_next_segment(uncut, archive_of(uncut), upto=300)
    assert [each.name for each in archive_of(uncut).iterdir()] == []


def test_what_an_interrupted_run_left_is_written_anew(uncut: JournalFolder) -> None:
    """A half written draft is no segment; a segment that is there is never overwritten."""
    archive_of(uncut).mkdir()
    size = checkpoint_after(uncut, 200)
    draft = archive_of(uncut) / f"{segment_name(1, size)}.new"
    draft.write_bytes(b"half a file")
    segment = write_next_segment(uncut, archive_of(uncut), upto=size)
    assert not draft.exists()
    before = segment.read_bytes()
    with pytest.raises(OperatorError, match="is there already"):
        write_next_segment(uncut, archive_of(uncut), upto=size)
    assert segment.read_bytes() == before


def test_a_cut_needs_the_segment_of_this_very_journal(uncut: JournalFolder, tmp_path: Path) -> None:
    """What is looked at before a cut: sealed, our base, our checkpoint byte for byte, every record."""
    segment = write_next_segment(uncut, archive_of(uncut), upto=300)
    ends, whole = read_ends(segment), SignedTree(Frontier(), "")
    note, key = ends.end.note, uncut.key.verify_key
    check_ends(ends, whole, note, key)
    with pytest.raises(OperatorError, match="own checkpoint"):
        check_ends(ends, whole, note.replace("\n", "\n ", 1), key)
    with pytest.raises(OperatorError, match="does not begin where the journal does"):
        check_ends(ends, ends.end, note, key)
    (tmp_path / "stranger").mkdir()
    with pytest.raises(OperatorError, match="not the one that its checkpoint signs"):
        check_ends(ends, whole, note, make_journal(tmp_path / "stranger").key.verify_key)
    change_file(segment, "DELETE FROM leaf WHERE seq = 9")
    with pytest.raises(OperatorError, match="every record"):
        check_ends(read_ends(segment), whole, note, key)
    change_file(segment, "UPDATE base SET sealed = 0")
    with pytest.raises(OperatorError, match="not sealed"):
        check_ends(read_ends(segment), whole, note, key)
    with pytest.raises(OperatorError, match="there is no segment"):
        read_ends(tmp_path / "nosuch.db")


async def test_a_cut_from_another_base_changes_nothing(uncut: JournalFolder, tmp_path: Path) -> None:
    """Of two cuts from one base, and of one that leads back, the second fails whole, and the journal goes on."""
    segment = write_next_segment(uncut, archive_of(uncut), upto=200)
    longer = read_ends(write_next_segment(uncut, tmp_path / "elsewhere", upto=300))
    async with uncut.writing() as journal:
        archived = await cut_at(uncut, journal, segment)
        for cut in (Cut(0, longer.end), Cut(archived.last, longer.base), Cut(archived.last, read_ends(segment).end)):
            with pytest.raises(JournalUnavailable, match="does not begin after record"):
                await journal.cut(cut, archived.record(by="tests"))
        assert await journal.append(a_permit(-1)) == 402
    assert verify_all(uncut, archive_of(uncut)).ok


async def test_two_cuts_at_once_are_two_cuts(uncut: JournalFolder) -> None:
    """Handed in together, each is made, and the journal begins after the second."""
    first = write_next_segment(uncut, archive_of(uncut), upto=200)
    end, size = read_ends(first).end, checkpoint_after(uncut, 250)
    second = write_segment(uncut.path, archive_of(uncut), end, size, uncut.key.verify_key, lambda _: None)

    def cut(segment: Path) -> tuple[Cut, Record]:
        ends = read_ends(segment)
        after, root = ends.base.frontier.size, ends.end.frontier.root().hex()
        archived = Archived(first=after + 1, last=ends.last, root=root, file=segment.name, sha256=sha256_of(segment))
        return Cut(after, ends.end), archived.record(by="tests")

    async with uncut.writing() as journal:
        await asyncio.gather(journal.cut(*cut(first)), journal.cut(*cut(second)))
        assert journal.status().base == size
    chain = verify_all(uncut, archive_of(uncut))
    assert (chain.ok, len(chain.links), chain.live.first) == (True, 2, size + 1)


async def test_appends_go_on_while_records_are_swept(uncut: JournalFolder) -> None:
    """Records that come during the sweep are on disk in order, readers see the new base at once, nothing is lost."""
    segment = write_next_segment(uncut, archive_of(uncut), upto=390)
    with uncut.queries() as reader:
        async with uncut.writing() as journal:
            assert (reader.size(), reader.base().frontier.size, journal.status().base) == (400, 0, 0)
            archived = await cut_at(uncut, journal, segment)
            assert (reader.base().frontier.size, journal.status().base) == (archived.last, archived.last)
            assert min(each.seq for each in reader.find(Filter())) == archived.last + 1
            seqs = [await journal.append(a_permit(-1 - at)) for at in range(60)]
            await journal.swept()
    assert seqs == list(range(402, 462))
    assert verify_all(uncut, archive_of(uncut)).records == 461


# --- a crash at any point --------------------------------------------------------------------------------------------


def _killed(made: JournalFolder, segment: Path, steps: int) -> None:
    """A process that cuts, takes so many steps of the sweep, and is killed at the next."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.journal_cutter", str(made.folder), str(segment), str(steps)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_killed_between_cut_and_sweep(uncut: JournalFolder, steps: int) -> None:
    """After kill -9 the journal verifies with what was left in it, sees none of it, and sweeps it at the next start."""
    write_calls(uncut, 800, first=5000)
    segment = write_next_segment(uncut, archive_of(uncut), upto=1100)
    last = read_ends(segment).end.frontier.size
    _killed(uncut, segment, steps)
    (left,) = rows_of(uncut.path, f"SELECT count(*) FROM record WHERE seq <= {last}")[0]
    assert left == last - SWEPT_AT_ONCE * steps
    chain = verify_all(uncut, archive_of(uncut))
    assert (chain.ok, chain.problem, chain.live.first) == (True, "", last + 1)
    with uncut.queries() as reader:
        assert min(each.seq for each in reader.find(Filter())) == last + 1
    asyncio.run(sweep(uncut))
    assert rows_of(uncut.path, f"SELECT count(*) FROM record WHERE seq <= {last}") == [(0,)]
    assert verify_all(uncut, archive_of(uncut)).ok
    assert archive_some(uncut, archive_of(uncut), upto=1201).first == last + 1
    assert verify_all(uncut, archive_of(uncut)).ok


# --- exports ---------------------------------------------------------------------------------------------------------


class _Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, lines: list[str]) -> None:
        self.lines.extend(lines)


def test_an_export_never_passes_over_archived_records(archived_original: JournalFolder) -> None:
    """One that lags behind stops with what to do; a new one begins with the file; a segment can be exported, too."""

    def feed(reader: JournalQueries, cursor: CursorInMemory) -> Feed:
        return Feed(reader=reader, render=lambda entry: str(entry.seq), place=lines, cursor=cursor)  # type: ignore[arg-type]

    lines, cursor = _Lines(), CursorInMemory(200)
    with archived_original.queries() as live, JournalQueries(segment_of(archived_original, SECOND)) as segment:
        with pytest.raises(ExportFailed, match="records 201 to 311 are archived") as refused:
            feed(live, cursor).pump()
        assert "--journal SEGMENT" in refused.value.advice()
        assert feed(segment, cursor).pump() == 0
        assert feed(live, cursor).pump() == 0
        assert lines.lines == [str(seq) for seq in range(201, 403)]
        lines.lines.clear()
        assert feed(live, CursorInMemory()).pump() == 0
        assert lines.lines == [str(seq) for seq in range(312, 403)]


# --- files of earlier versions ---------------------------------------------------------------------------------------


@pytest.fixture
def second_version(uncut: JournalFolder) -> JournalFolder:
    """A file as the version before wrote it."""
    change_file(uncut.path, "DROP TABLE base", "PRAGMA user_version = 2")
    return uncut


def test_a_file_of_the_second_version(second_version: JournalFolder) -> None:
    """It is verified, asked and proved as it is; whoever writes it gives it its base, and then it can be archived."""
    made = second_version
    assert made.verify().ok
    with made.queries() as reader:
        assert reader.base().frontier.size == 0
        assert check_proof(make_proof(reader, 3), made.key.verify_key)["seq"] == 3
    archive_some(made, archive_of(made), upto=300)
    assert rows_of(made.path, "PRAGMA user_version") == [(3,)]
    assert verify_all(made, archive_of(made)).ok
