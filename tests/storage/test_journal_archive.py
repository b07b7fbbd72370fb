"""Sealed segments and the cut: what leaves the live file stays evidence, and whatever is done to it is noticed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perhop.errors import ExportFailed, JournalDamaged, JournalUnavailable, NotFound, OperatorError
from perhop.journal.archived import Archived, segment_name
from perhop.journal.archived_part import archived_part
from perhop.journal.checkpoint import sign_checkpoint
from perhop.journal.export.feed import Feed
from perhop.journal.proof import check_proof, make_proof
from perhop.journal.query import Filter
from perhop.journal.store import Cut, SignedTree
from perhop.journal.tree import Frontier, leaf_hash
from perhop.journal.verify import Verification
from perhop.storage.export_files import CursorInMemory
from perhop.storage.journal_db import checkpoint_path
from perhop.storage.journal_reader import JournalQueries
from perhop.storage.journal_segment import check_ends, read_ends, sha256_of
from tests.support import recursive_tree
from tests.support.archives import (
    append_all,
    archive_some,
    calls,
    cut_at,
    days_ago,
    verify_all,
    write_next_segment,
)
from tests.support.journals import JournalFolder, a_permit, make_journal

ROOT = Path(__file__).parents[2]
FIRST, SECOND = (1, 150), (151, 311)
"""What the two segments of the original hold: a checkpoint stands at 150 and, with the record of the cut, at 311."""


def _write(made: JournalFolder, count: int, *, first: int) -> None:
    asyncio.run(append_all(made.open(days_ago(40)), calls(count, first=first)))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> JournalFolder:
    """Two segments, the first of records 1 to 150, and a live file with more."""
    made = make_journal(tmp_path_factory.mktemp("original"))
    _write(made, 150, first=1)
    archive_some(made, made.folder / "archive", upto=150)
    _write(made, 160, first=200)
    archive_some(made, made.folder / "archive", upto=311)
    _write(made, 90, first=400)
    return made


@pytest.fixture
def copied(original: JournalFolder, tmp_path: Path) -> JournalFolder:
    """A copy of everything, for a test to spoil."""
    shutil.copytree(original.folder, tmp_path / "copied")
    return JournalFolder(folder=tmp_path / "copied", key=original.key)


@pytest.fixture
def uncut(tmp_path: Path) -> JournalFolder:
    """A journal of 400 records that nobody has cut yet."""
    (tmp_path / "uncut").mkdir()
    made = make_journal(tmp_path / "uncut")
    _write(made, 400, first=1)
    return made


def _archive(made: JournalFolder) -> Path:
    return made.folder / "archive"


def _segment(made: JournalFolder, ends: tuple[int, int]) -> Path:
    return _archive(made) / segment_name(*ends)


def _verify(made: JournalFolder, path: Path, *checkpoints: str) -> Verification:
    return JournalFolder(folder=path.parent, key=made.key).verify_file(path, *checkpoints)


def _rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def _change(path: Path, *statements: str) -> None:
    path.chmod(0o600)
    connection = sqlite3.connect(path)
    connection.create_function("leaf_of", 1, lambda body: leaf_hash(body.encode()), deterministic=True)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def _leaves(made: JournalFolder) -> list[bytes]:
    """The leaf hashes of the whole history, from the bodies in every file, by the other implementation."""
    files = [*sorted(_archive(made).glob("journal-*.db")), made.path]
    bodies = [str(body) for file in files for (body,) in _rows(file, "SELECT body FROM record ORDER BY seq")]
    assert [json.loads(body)["seq"] for body in bodies] == list(range(1, len(bodies) + 1))
    return [recursive_tree.leaf(body.encode()) for body in bodies]


# --- what is good ----------------------------------------------------------------------------------------------------


def test_segments_and_live_file_are_one_history(original: JournalFolder) -> None:
    """Each file verifies alone and all of them as one; the root is the one of RFC 9162 over every body."""
    chain = verify_all(original, _archive(original))
    leaves = _leaves(original)
    assert (chain.ok, chain.problem, chain.records, chain.first_bad) == (True, "", len(leaves), None)
    assert [(each.archived.first, each.archived.last) for each in chain.links] == [FIRST, SECOND]
    assert chain.live.root == recursive_tree.root(leaves).hex()
    for ends in (FIRST, SECOND):
        found = _verify(original, _segment(original, ends))
        assert (found.ok, found.first, found.last, found.is_sealed) == (True, *ends, True)
        assert found.root == recursive_tree.root(leaves[: ends[1]]).hex()
    assert (chain.live.first, chain.live.last, chain.live.is_sealed) == (SECOND[1] + 1, len(leaves), False)


def test_a_segment_is_whole_and_read_only(original: JournalFolder) -> None:
    """It has the tables, facets and header of a journal, mode 0400, and nothing beside it."""
    segment = _segment(original, FIRST)
    assert segment.stat().st_mode & 0o777 == 0o400
    assert {each.name for each in segment.parent.iterdir()} == {segment_name(*ends) for ends in (FIRST, SECOND)}
    with JournalQueries(segment) as reader:
        assert reader.size() == FIRST[1]
        assert reader.is_sealed()
        assert len(list(reader.find(Filter(event="call.permitted")))) == 75
        assert reader.permit_by_out_jti("out-3") is not None


def test_what_was_archived_left_the_file(original: JournalFolder) -> None:
    """No table has rows of before the base, and the file does not keep their room."""
    base = SECOND[1]
    for table, key in (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size")):
        assert _rows(original.path, f"SELECT count(*) FROM {table} WHERE {key} <= {base}") == [(0,)]
    assert _rows(original.path, "PRAGMA freelist_count") == [(0,)]


def test_the_cut_is_on_record(original: JournalFolder) -> None:
    """A record says which records left, under which root, into which file with which digest."""
    with original.queries() as reader:
        said = [Archived.of(each.fields) for each in reader.find(Filter(event="journal.archived"))]
        part = archived_part(reader)
    (archived,) = said
    assert archived is not None
    assert (archived.first, archived.last, archived.file) == (*SECOND, segment_name(*SECOND))
    assert archived.sha256 == sha256_of(_segment(original, SECOND))
    assert part is not None
    assert (part.records, part.files) == (SECOND[1], (segment_name(*SECOND),))


@pytest.mark.parametrize("seq", [1, 77, 150, 151, 200, 311, 312, 313, 350, 402])
def test_every_record_can_be_proved(original: JournalFolder, seq: int) -> None:
    """With its file alone, live or sealed, a record has the path of the definition over the whole history."""
    leaves = _leaves(original)
    file = next((_segment(original, ends) for ends in (FIRST, SECOND) if seq <= ends[1]), original.path)
    size = next((ends[1] for ends in (FIRST, SECOND) if seq <= ends[1]), len(leaves))
    with JournalQueries(file) as reader:
        proof = make_proof(reader, seq)
    assert check_proof(proof, original.key.verify_key)["seq"] == seq
    siblings = [each.hex() for each in recursive_tree.path(seq - 1, leaves[:size])]
    assert [_hex(each) for each in proof["path"]] == siblings


def _hex(encoded: str) -> str:
    import base64

    return base64.b64decode(encoded).hex()


def test_an_archived_record_is_proved_elsewhere(original: JournalFolder) -> None:
    """The live file names the segment that holds it, and an unknown record stays unknown."""
    with original.queries() as reader:
        with pytest.raises(NotFound, match="record 200 is archived") as refused:
            make_proof(reader, 200)
        assert segment_name(*SECOND) in refused.value.advice()
        with pytest.raises(NotFound, match="no record 999"):
            make_proof(reader, 999)


def test_the_writer_goes_on_after_a_cut(copied: JournalFolder) -> None:
    """Numbers and tree go on without a break over a new start, even of a file that was cut to almost nothing."""
    archive_some(copied, _archive(copied), upto=402)
    assert asyncio.run(_append_one(copied)) == 404
    chain = verify_all(copied, _archive(copied))
    assert (chain.ok, chain.records, chain.live.first, chain.live.records) == (True, 404, 403, 2)


async def _append_one(made: JournalFolder) -> int:
    async with made.writing() as journal:
        return await journal.append(a_permit(-1))


# --- damage to segments ----------------------------------------------------------------------------------------------


def _flip(made: JournalFolder) -> None:
    _change(_segment(made, FIRST), "UPDATE record SET body = replace(body, 'tools/call', 'tools/cald') WHERE seq = 41")


def _flip_with_leaf(made: JournalFolder) -> None:
    _change(
        _segment(made, FIRST),
        "UPDATE record SET body = replace(body, 'calendar-readers', 'calendar-writers') WHERE seq = 41",
        "UPDATE leaf SET hash = leaf_of((SELECT body FROM record WHERE seq = 41)) WHERE seq = 41",
    )


def _remove(made: JournalFolder) -> None:
    _segment(made, FIRST).unlink()


def _swap(made: JournalFolder) -> None:
    first, second = _segment(made, FIRST), _segment(made, SECOND)
    first.rename(first.with_suffix(".old"))
    second.rename(first)
    first.with_suffix(".old").rename(second)


def _stand_in(made: JournalFolder) -> None:
    _segment(made, FIRST).unlink()
    shutil.copy(_segment(made, SECOND), _segment(made, FIRST))


def _reorder(made: JournalFolder) -> None:
    moves = ((41, 0), (90, 41), (0, 90))
    statements = [
        f"UPDATE {table} SET seq = {to} WHERE seq = {at}" for table in ("record", "leaf", "facet") for at, to in moves
    ]
    _change(_segment(made, FIRST), *statements)


def _truncate(made: JournalFolder) -> None:
    segment = _segment(made, FIRST)
    segment.chmod(0o600)
    os.truncate(segment, segment.stat().st_size // 2)


def _shorten(made: JournalFolder) -> None:
    tables = (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size"))
    _change(_segment(made, FIRST), *(f"DELETE FROM {table} WHERE {key} > 120" for table, key in tables))


def _empty(made: JournalFolder) -> None:
    segment = _segment(made, FIRST)
    segment.chmod(0o600)
    segment.write_bytes(b"")


def _write_anew(made: JournalFolder) -> None:
    _change(_segment(made, FIRST), "PRAGMA user_version = 3", "VACUUM")


def _unseal(made: JournalFolder) -> None:
    _change(_segment(made, FIRST), "UPDATE base SET sealed = 0")


@pytest.mark.parametrize(
    ("damage", "first_bad", "words"),
    [
        (_flip, 41, "record 41 is not what its leaf says"),
        (_flip_with_leaf, None, "not those that were signed"),
        (_remove, 1, "is missing"),
        (_swap, None, f"under the name `{segment_name(*SECOND)}`"),
        (_stand_in, 1, "holds records 151 to 311"),
        (_reorder, 41, "record 41"),
        (_truncate, None, ""),
        (_shorten, None, "records"),
        (_empty, 1, "not a journal of Perhop"),
        (_write_anew, None, "not the file that was archived"),
        (_unseal, None, "is not sealed"),
    ],
)
def test_a_damaged_archive_is_named(
    copied: JournalFolder, damage: Callable[[JournalFolder], None], first_bad: int | None, words: str
) -> None:
    """Whatever is done to a segment, the chain is not ok, and the first bad file and record are named."""
    assert verify_all(copied, _archive(copied)).ok
    damage(copied)
    chain = verify_all(copied, _archive(copied))
    assert not chain.ok
    assert chain.problem.startswith(f"`{segment_name(*FIRST)}`")
    assert words in chain.problem
    if first_bad is not None:
        assert chain.first_bad == first_bad
    assert chain.live.ok
    assert [bool(link.problem) for link in chain.links] == [True, damage is _swap]


def test_a_missing_segment_does_not_hide_those_before(copied: JournalFolder) -> None:
    """Without the second, the first is not found by its record, which was in the live file once: that is told."""
    _segment(copied, SECOND).unlink()
    chain = verify_all(copied, _archive(copied))
    assert (chain.ok, chain.first_bad) == (False, 1)
    assert [each.problem for each in chain.links] == [f"`{segment_name(*SECOND)}` is missing"]
    assert "is missing" in chain.problem


# --- damage to the live file -----------------------------------------------------------------------------------------


def _forge_cut(made: JournalFolder, size: int) -> None:
    """What somebody without the key can do: take the beginning out, and leave a base with a note that was signed."""
    leaves = [bytes(each) for (each,) in _rows(made.path, "SELECT hash FROM leaf ORDER BY seq")]  # type: ignore[call-overload]
    base = int(_rows(made.path, "SELECT size FROM base")[0][0])  # type: ignore[call-overload]
    stored = bytes(_rows(made.path, "SELECT hashes FROM base")[0][0])  # type: ignore[call-overload]
    tree = Frontier.of_bytes(base, stored).grown(leaves[: size - base])
    (note,) = _rows(made.path, f"SELECT note FROM checkpoint WHERE size = {size}")
    _change(
        made.path,
        f"UPDATE base SET size = {size}, hashes = x'{tree.to_bytes().hex()}', note = '{note[0]}'",
        *(f"DELETE FROM {table} WHERE seq <= {size}" for table in ("record", "leaf", "facet")),
        f"DELETE FROM checkpoint WHERE size <= {size}",
    )


def _checkpoint_after(made: JournalFolder, seq: int) -> int:
    return int(_rows(made.path, f"SELECT min(size) FROM checkpoint WHERE size > {seq}")[0][0])  # type: ignore[call-overload]


def test_records_that_somebody_took_out_are_not_archived_ones(uncut: JournalFolder) -> None:
    """A cut that no signed record tells of is noticed, though every hash and signature in the file is right."""
    _forge_cut(uncut, _checkpoint_after(uncut, 100))
    found = uncut.verify()
    assert (found.ok, found.first_bad) == (False, 1)
    assert "no signed record says that they were archived" in found.problem


def test_a_second_cut_that_is_forged(copied: JournalFolder) -> None:
    """Beside a real cut, a forged one is noticed all the same, and the first record that is gone is named."""
    _forge_cut(copied, _checkpoint_after(copied, 320))
    found = copied.verify()
    assert (found.ok, found.first_bad) == (False, 1)
    assert not verify_all(copied, _archive(copied)).ok


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE base SET note = replace(note, '311', '312')", "does not verify"),
        ("UPDATE base SET note = ''", "does not verify"),
        ("UPDATE base SET hashes = zeroblob(length(hashes))", "is not the tree that its note signs"),
        ("UPDATE base SET size = 310", ""),
        ("UPDATE base SET size = 0, hashes = x'', note = ''", "record 1 is missing"),
        ("DELETE FROM base", "where it begins"),
        ("PRAGMA user_version = 2", "record 1 is missing"),
        ("DROP TABLE base", "cannot be read"),
    ],
)
def test_a_base_that_was_changed(copied: JournalFolder, statement: str, words: str) -> None:
    """The tree that a file goes on from is signed like any other: verification says so, and the writer refuses."""
    _change(copied.path, statement)
    found = copied.verify()
    assert not found.ok
    assert words in found.problem
    if "user_version" not in statement:
        with pytest.raises((JournalDamaged, JournalUnavailable)):
            copied.open()


def test_a_segment_in_the_place_of_the_live_file(copied: JournalFolder) -> None:
    """Nothing is ever added to a sealed segment."""
    shutil.copy(_segment(copied, FIRST), copied.path)
    copied.path.chmod(0o600)
    with pytest.raises(JournalDamaged, match="sealed"):
        copied.open()


def test_what_is_left_of_the_base_answers_no_question(copied: JournalFolder) -> None:
    """A row that somebody puts where archived ones were is not verified, so it is not seen; the writer sweeps it."""
    body = (
        '{"event":"call.permitted","in":{"jti":"forged"},"seq":7,"time":"2026-01-01T00:00:00.000000Z","txn":"forged"}'
    )
    _change(
        copied.path,
        f"INSERT INTO record VALUES (7, '{body}')",
        "INSERT INTO facet (seq, time, txn, in_jti, kind) SELECT 7, time, 'forged', 'forged', kind FROM facet LIMIT 1",
    )
    with copied.queries() as reader:
        assert list(reader.find(Filter(txn="forged"))) == []
        assert list(reader.children_of("forged")) == []
        assert reader.record(7) is None
        assert reader.tail(1000)[0].seq == SECOND[1] + 1
        assert all(each.seq != 7 for each in reader.find(Filter()))
    assert copied.verify().ok
    asyncio.run(_sweep(copied))
    assert _rows(copied.path, "SELECT count(*) FROM record WHERE seq <= 311") == [(0,)]


async def _sweep(made: JournalFolder) -> None:
    async with made.writing() as journal:
        await journal.swept()


# --- checkpoints kept elsewhere --------------------------------------------------------------------------------------


def _signed(made: JournalFolder, size: int, *, other: bool = False) -> str:
    leaves = _leaves(made)[:size]
    return sign_checkpoint(made.key, Frontier().grown([leaf_hash(b"other"), *leaves[1:]] if other else leaves))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, ""),
        (100, "hold it against the archived segment that holds record 100"),
        (200, f"hold it against `{segment_name(*SECOND)}`"),
        (SECOND[1], ""),
        (350, ""),
        (402, ""),
    ],
)
def test_a_kept_checkpoint_and_the_live_file(original: JournalFolder, size: int, words: str) -> None:
    """From the base on it is held against the tree; before, it is never silently passed, and the file is named."""
    found = original.verify(_signed(original, size))
    assert (found.ok, words in found.problem) == (not words, True)
    chain = verify_all(original, _archive(original), _signed(original, size))
    assert (chain.ok, chain.problem) == (True, "")


@pytest.mark.parametrize("size", [1, 100, 150, 151, 200, 311, 312, 402])
def test_a_kept_checkpoint_of_another_history(original: JournalFolder, size: int) -> None:
    """Wherever in the history it stands, a checkpoint of other records is noticed in one go."""
    assert not verify_all(original, _archive(original), _signed(original, size, other=True)).ok


def test_a_kept_checkpoint_and_a_segment(original: JournalFolder) -> None:
    """One over later records belongs to a later file, one over earlier records to an earlier one."""
    segment = _segment(original, SECOND)
    assert _verify(original, segment, _signed(original, 200)).ok
    assert _verify(original, segment, _signed(original, 150)).ok
    later = _verify(original, segment, _signed(original, 350))
    assert (later.ok, later.first_bad) == (False, None)
    assert "belongs to a later file" in later.problem
    earlier = _verify(original, segment, _signed(original, 149))
    assert (earlier.ok, f"`{segment_name(*FIRST)}`" in earlier.problem) == (False, True)


def test_a_live_file_that_was_cut_at_its_end(copied: JournalFolder) -> None:
    """The published checkpoint shows it, archive or not."""
    kept = checkpoint_path(copied.path).read_text()
    for table, key in (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size")):
        _change(copied.path, f"DELETE FROM {table} WHERE {key} > {_checkpoint_after(copied, 311)}")
    assert copied.verify().ok
    chain = verify_all(copied, _archive(copied), kept)
    assert (chain.ok, chain.first_bad) == (False, _rows(copied.path, "SELECT max(seq) + 1 FROM record")[0][0])


# --- writing a segment -----------------------------------------------------------------------------------------------


def test_a_journal_that_does_not_verify_is_not_archived(uncut: JournalFolder) -> None:
    """The segment is verified before anything is cut: a changed record stops it, and no file is left."""
    _change(uncut.path, "UPDATE record SET body = replace(body, 'tools/call', 'tools/cald') WHERE seq = 41")
    with pytest.raises(JournalDamaged, match="nothing was archived: record 41"):
        write_next_segment(uncut, _archive(uncut), upto=300)
    assert [each.name for each in _archive(uncut).iterdir()] == []


def test_what_an_interrupted_run_left_is_written_anew(uncut: JournalFolder) -> None:
    """A half written draft is no segment; a segment that is there is never overwritten."""
    _archive(uncut).mkdir()
    size = _checkpoint_after(uncut, 200)
    draft = _archive(uncut) / f"{segment_name(1, size)}.new"
    draft.write_bytes(b"half a file")
    segment = write_next_segment(uncut, _archive(uncut), upto=size)
    assert not draft.exists()
    before = segment.read_bytes()
    with pytest.raises(OperatorError, match="is there already"):
        write_next_segment(uncut, _archive(uncut), upto=size)
    assert segment.read_bytes() == before


def test_a_cut_needs_the_segment_of_this_very_journal(uncut: JournalFolder, tmp_path: Path) -> None:
    """What is looked at before a cut: sealed, our base, our checkpoint byte for byte, every record."""
    segment = write_next_segment(uncut, _archive(uncut), upto=300)
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
    _change(segment, "DELETE FROM leaf WHERE seq = 9")
    with pytest.raises(OperatorError, match="every record"):
        check_ends(read_ends(segment), whole, note, key)
    _change(segment, "UPDATE base SET sealed = 0")
    with pytest.raises(OperatorError, match="not sealed"):
        check_ends(read_ends(segment), whole, note, key)
    with pytest.raises(OperatorError, match="there is no segment"):
        read_ends(tmp_path / "nosuch.db")


async def test_a_cut_from_another_base_changes_nothing(uncut: JournalFolder) -> None:
    """Two cuts from one base: the second fails whole, and the journal goes on."""
    segment = write_next_segment(uncut, _archive(uncut), upto=300)
    async with uncut.writing() as journal:
        archived = await cut_at(uncut, journal, segment)
        with pytest.raises(JournalUnavailable, match="does not begin after record 0"):
            await journal.cut(Cut(0, read_ends(segment).end), archived.record(by="tests"))
        assert await journal.append(a_permit(-1)) == 402
    assert verify_all(uncut, _archive(uncut)).ok


async def test_appends_go_on_while_records_are_swept(uncut: JournalFolder) -> None:
    """Records that come during the sweep are on disk in order, readers see the new base at once, nothing is lost."""
    segment = write_next_segment(uncut, _archive(uncut), upto=390)
    with uncut.queries() as reader:
        async with uncut.writing() as journal:
            assert (reader.size(), reader.base().frontier.size, journal.status().base) == (400, 0, 0)
            archived = await cut_at(uncut, journal, segment)
            assert (reader.base().frontier.size, journal.status().base) == (archived.last, archived.last)
            assert min(each.seq for each in reader.find(Filter())) == archived.last + 1
            seqs = [await journal.append(a_permit(-1 - at)) for at in range(60)]
            await journal.swept()
    assert seqs == list(range(402, 462))
    assert verify_all(uncut, _archive(uncut)).records == 461


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
    _write(uncut, 800, first=5000)
    segment = write_next_segment(uncut, _archive(uncut), upto=1100)
    last = read_ends(segment).end.frontier.size
    _killed(uncut, segment, steps)
    (left,) = _rows(uncut.path, f"SELECT count(*) FROM record WHERE seq <= {last}")[0]
    assert left == last - 256 * steps
    chain = verify_all(uncut, _archive(uncut))
    assert (chain.ok, chain.problem, chain.live.first) == (True, "", last + 1)
    with uncut.queries() as reader:
        assert min(each.seq for each in reader.find(Filter())) == last + 1
    asyncio.run(_sweep(uncut))
    assert _rows(uncut.path, f"SELECT count(*) FROM record WHERE seq <= {last}") == [(0,)]
    assert verify_all(uncut, _archive(uncut)).ok
    assert archive_some(uncut, _archive(uncut), upto=1201).first == last + 1
    assert verify_all(uncut, _archive(uncut)).ok


# --- exports ---------------------------------------------------------------------------------------------------------


class _Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, lines: list[str]) -> None:
        self.lines.extend(lines)


def test_an_export_never_passes_over_archived_records(original: JournalFolder) -> None:
    """One that lags behind stops with what to do; a new one begins with the file; a segment can be exported, too."""

    def feed(reader: JournalQueries, cursor: CursorInMemory) -> Feed:
        return Feed(reader=reader, render=lambda entry: str(entry.seq), place=lines, cursor=cursor)  # type: ignore[arg-type]

    lines, cursor = _Lines(), CursorInMemory(200)
    with original.queries() as live, JournalQueries(_segment(original, SECOND)) as segment:
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
    _change(uncut.path, "DROP TABLE base", "PRAGMA user_version = 2")
    return uncut


def test_a_file_of_the_second_version(second_version: JournalFolder) -> None:
    """It is verified, asked and proved as it is; whoever writes it gives it its base, and then it can be archived."""
    made = second_version
    assert made.verify().ok
    with made.queries() as reader:
        assert reader.base().frontier.size == 0
        assert check_proof(make_proof(reader, 3), made.key.verify_key)["seq"] == 3
    archive_some(made, _archive(made), upto=300)
    assert _rows(made.path, "PRAGMA user_version") == [(3,)]
    assert verify_all(made, _archive(made)).ok
