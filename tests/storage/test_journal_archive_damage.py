"""Whatever is done to a segment, or to the beginning of the live file, is noticed, and the first bad file is named."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest

from perhop.errors import JournalDamaged, JournalUnavailable
from perhop.journal.archived import segment_name
from perhop.journal.chain import verify_chain
from perhop.journal.checkpoint import sign_checkpoint
from perhop.journal.query import Filter
from perhop.journal.tree import Frontier, leaf_hash
from perhop.storage.journal_db import checkpoint_path
from perhop.storage.journal_segment import SegmentFolder
from tests.support.archives import (
    FIRST,
    SECOND,
    all_leaves,
    archive_of,
    change_file,
    checkpoint_after,
    rows_of,
    segment_of,
    sweep,
    verify_all,
    verify_file,
)
from tests.support.journals import JournalFolder

# --- damage to segments ----------------------------------------------------------------------------------------------


def _flip(made: JournalFolder) -> None:
    change = "UPDATE record SET body = replace(body, 'tools/call', 'tools/cald') WHERE seq = 41"
    change_file(segment_of(made, FIRST), change)


def _flip_with_leaf(made: JournalFolder) -> None:
    change_file(
        segment_of(made, FIRST),
        "UPDATE record SET body = replace(body, 'calendar-readers', 'calendar-writers') WHERE seq = 41",
        "UPDATE leaf SET hash = leaf_of((SELECT body FROM record WHERE seq = 41)) WHERE seq = 41",
    )


def _remove(made: JournalFolder) -> None:
    segment_of(made, FIRST).unlink()


def _swap(made: JournalFolder) -> None:
    first, second = segment_of(made, FIRST), segment_of(made, SECOND)
    first.rename(first.with_suffix(".old"))
    second.rename(first)
    first.with_suffix(".old").rename(second)


def _stand_in(made: JournalFolder) -> None:
    segment_of(made, FIRST).unlink()
    shutil.copy(segment_of(made, SECOND), segment_of(made, FIRST))


def _reorder(made: JournalFolder) -> None:
    moves = ((41, 0), (90, 41), (0, 90))
    statements = [
        f"UPDATE {table} SET seq = {to} WHERE seq = {at}" for table in ("record", "leaf", "facet") for at, to in moves
    ]
    change_file(segment_of(made, FIRST), *statements)


def _truncate(made: JournalFolder) -> None:
    segment = segment_of(made, FIRST)
    segment.chmod(0o600)
    os.truncate(segment, segment.stat().st_size // 2)


def _shorten(made: JournalFolder) -> None:
    tables = (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size"))
    change_file(segment_of(made, FIRST), *(f"DELETE FROM {table} WHERE {key} > 120" for table, key in tables))


def _empty(made: JournalFolder) -> None:
    segment = segment_of(made, FIRST)
    segment.chmod(0o600)
    segment.write_bytes(b"")


def _write_anew(made: JournalFolder) -> None:
    change_file(segment_of(made, FIRST), "PRAGMA user_version = 3", "VACUUM")


def _unseal(made: JournalFolder) -> None:
    change_file(segment_of(made, FIRST), "UPDATE base SET sealed = 0")


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
    archived_copy: JournalFolder, damage: Callable[[JournalFolder], None], first_bad: int | None, words: str
) -> None:
    """Whatever is done to a segment, the chain is not ok, and the first bad file and record are named."""
    assert verify_all(archived_copy, archive_of(archived_copy)).ok
    damage(archived_copy)
    chain = verify_all(archived_copy, archive_of(archived_copy))
    assert not chain.ok
    assert chain.problem.startswith(f"`{segment_name(*FIRST)}`")
    assert words in chain.problem
    if first_bad is not None:
        assert chain.first_bad == first_bad
    assert chain.live.ok
    assert [bool(link.problem) for link in chain.links] == [True, damage is _swap]


def test_a_file_that_goes_on_from_another_tree(archived_original: JournalFolder) -> None:
    """Two histories under one key do not become one: the next file must begin with the tree that this one ends with."""
    live = replace(archived_original.verify(), base_root="0" * 64)
    segments = SegmentFolder(archive_of(archived_original))
    chain = verify_chain(live, segments, archived_original.key.verify_key)
    assert (chain.ok, chain.first_bad) == (False, SECOND[0])
    assert "does not end with the tree that the next file begins with" in chain.problem


def test_a_missing_segment_does_not_hide_those_before(archived_copy: JournalFolder) -> None:
    """Without the second, the first is not found by its record, which was in the live file once: that is told."""
    segment_of(archived_copy, SECOND).unlink()
    chain = verify_all(archived_copy, archive_of(archived_copy))
    assert (chain.ok, chain.first_bad) == (False, 1)
    assert [each.problem for each in chain.links] == [f"`{segment_name(*SECOND)}` is missing"]
    assert "is missing" in chain.problem


# --- damage to the live file -----------------------------------------------------------------------------------------


def _forge_cut(made: JournalFolder, size: int) -> None:
    """What somebody without the key can do: take the beginning out, and leave a base with a note that was signed."""
    leaves = [bytes(each) for (each,) in rows_of(made.path, "SELECT hash FROM leaf ORDER BY seq")]  # type: ignore[call-overload]
    base = int(rows_of(made.path, "SELECT size FROM base")[0][0])  # type: ignore[call-overload]
    stored = bytes(rows_of(made.path, "SELECT hashes FROM base")[0][0])  # type: ignore[call-overload]
    tree = Frontier.of_bytes(base, stored).grown(leaves[: size - base])
    (note,) = rows_of(made.path, f"SELECT note FROM checkpoint WHERE size = {size}")
    change_file(
        made.path,
        f"UPDATE base SET size = {size}, hashes = x'{tree.to_bytes().hex()}', note = '{note[0]}'",
        *(f"DELETE FROM {table} WHERE seq <= {size}" for table in ("record", "leaf", "facet")),
        f"DELETE FROM checkpoint WHERE size <= {size}",
    )


def test_records_that_somebody_took_out_are_not_archived_ones(uncut: JournalFolder) -> None:
    """A cut that no signed record tells of is noticed, though every hash and signature in the file is right."""
    _forge_cut(uncut, checkpoint_after(uncut, 100))
    found = uncut.verify()
    assert (found.ok, found.first_bad) == (False, 1)
    assert "no signed record says that they were archived" in found.problem


def test_a_second_cut_that_is_forged(archived_copy: JournalFolder) -> None:
    """Beside a real cut, a forged one is noticed all the same, and the first record that is gone is named."""
    _forge_cut(archived_copy, checkpoint_after(archived_copy, 320))
    found = archived_copy.verify()
    assert (found.ok, found.first_bad) == (False, 1)
    assert not verify_all(archived_copy, archive_of(archived_copy)).ok


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
def test_a_base_that_was_changed(archived_copy: JournalFolder, statement: str, words: str) -> None:
    """The tree that a file goes on from is signed like any other: verification says so, and the writer refuses."""
    change_file(archived_copy.path, statement)
    found = archived_copy.verify()
    assert not found.ok
    assert words in found.problem
    if "user_version" not in statement:
        with pytest.raises((JournalDamaged, JournalUnavailable)):
            archived_copy.open()


def test_a_segment_in_the_place_of_the_live_file(archived_copy: JournalFolder) -> None:
    """Nothing is ever added to a sealed segment."""
    shutil.copy(segment_of(archived_copy, FIRST), archived_copy.path)
    archived_copy.path.chmod(0o600)
    with pytest.raises(JournalDamaged, match="sealed"):
        archived_copy.open()


def test_what_is_left_of_the_base_answers_no_question(archived_copy: JournalFolder) -> None:
    """A row that somebody puts where archived ones were is not verified, so it is not seen; the writer sweeps it."""
    body = (
        '{"event":"call.permitted","in":{"jti":"forged"},"seq":7,"time":"2026-01-01T00:00:00.000000Z","txn":"forged"}'
    )
    change_file(
        archived_copy.path,
        f"INSERT INTO record VALUES (7, '{body}')",
        "INSERT INTO facet (seq, time, txn, in_jti, kind) SELECT 7, time, 'forged', 'forged', kind FROM facet LIMIT 1",
    )
    with archived_copy.queries() as reader:
        assert list(reader.find(Filter(txn="forged"))) == []
        assert list(reader.children_of("forged")) == []
        assert reader.record(7) is None
        assert reader.tail(1000)[0].seq == SECOND[1] + 1
        assert all(each.seq != 7 for each in reader.find(Filter()))
    assert archived_copy.verify().ok
    asyncio.run(sweep(archived_copy))
    assert rows_of(archived_copy.path, "SELECT count(*) FROM record WHERE seq <= 311") == [(0,)]


# --- checkpoints kept elsewhere --------------------------------------------------------------------------------------


def _signed(made: JournalFolder, size: int, *, other: bool = False) -> str:
    leaves = all_leaves(made)[:size]
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
def test_a_kept_checkpoint_and_the_live_file(archived_original: JournalFolder, size: int, words: str) -> None:
    """From the base on it is held against the tree; before, it is never silently passed, and the file is named."""
    found = archived_original.verify(_signed(archived_original, size))
    assert (found.ok, words in found.problem) == (not words, True)
    chain = verify_all(archived_original, archive_of(archived_original), _signed(archived_original, size))
    assert (chain.ok, chain.problem) == (True, "")


@pytest.mark.parametrize("size", [1, 100, 150, 151, 200, 311, 312, 402])
def test_a_kept_checkpoint_of_another_history(archived_original: JournalFolder, size: int) -> None:
    """Wherever in the history it stands, a checkpoint of other records is noticed in one go."""
    assert not verify_all(
        archived_original, archive_of(archived_original), _signed(archived_original, size, other=True)
    ).ok


def test_a_kept_checkpoint_and_a_segment(archived_original: JournalFolder) -> None:
    """One over later records belongs to a later file, one over earlier records to an earlier one."""
    segment = segment_of(archived_original, SECOND)
    assert verify_file(archived_original, segment, _signed(archived_original, 200)).ok
    assert verify_file(archived_original, segment, _signed(archived_original, 150)).ok
    later = verify_file(archived_original, segment, _signed(archived_original, 350))
    assert (later.ok, later.first_bad) == (False, None)
    assert "belongs to a later file" in later.problem
    earlier = verify_file(archived_original, segment, _signed(archived_original, 149))
    assert (earlier.ok, f"`{segment_name(*FIRST)}`" in earlier.problem) == (False, True)


def test_a_live_file_that_was_cut_at_its_end(archived_copy: JournalFolder) -> None:
    """The published checkpoint shows it, archive or not."""
    kept = checkpoint_path(archived_copy.path).read_text()
    left = checkpoint_after(archived_copy, 311)
    for table, key in (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size")):
        change_file(archived_copy.path, f"DELETE FROM {table} WHERE {key} > {left}")
    ((size, hashes),) = rows_of(archived_copy.path, "SELECT size, hashes FROM base")
    leaves = (leaf for (leaf,) in rows_of(archived_copy.path, f"SELECT hash FROM leaf WHERE seq > {size} ORDER BY seq"))
    tree = Frontier.of_bytes(size, hashes).grown(leaves)
    change_file(archived_copy.path, f"UPDATE frontier SET size = {tree.size}, hashes = x'{tree.to_bytes().hex()}'")
    assert archived_copy.verify().ok
    chain = verify_all(archived_copy, archive_of(archived_copy), kept)
    assert (chain.ok, chain.first_bad) == (False, rows_of(archived_copy.path, "SELECT max(seq) + 1 FROM record")[0][0])
