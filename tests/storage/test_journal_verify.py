"""Verification of a journal's file: every way to tamper with it is noticed, and the first bad record is named."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from perhop.errors import CheckFailed, NotFound
from perhop.journal.checkpoint import sign_checkpoint
from perhop.journal.keys import JournalKey
from perhop.journal.proof import check_proof, make_proof
from perhop.journal.tree import Frontier, leaf_hash, root_of
from perhop.storage.journal_db import checkpoint_path, create_journal
from tests.support.journals import ORIGIN, JournalFolder, a_permit, make_journal

SIZE = 150


async def _write(made: JournalFolder) -> None:
    async with made.writing() as journal:
        for start in range(0, SIZE, 30):
            await asyncio.gather(*(journal.append(a_permit(start + number)) for number in range(30)))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> JournalFolder:
    made = make_journal(tmp_path_factory.mktemp("original"))
    asyncio.run(_write(made))
    return made


@pytest.fixture
def copied(original: JournalFolder, tmp_path: Path) -> JournalFolder:
    """A copy of the journal's one file, and the key: nothing else."""
    shutil.copy(original.path, tmp_path / "journal.db")
    return JournalFolder(folder=tmp_path, key=original.key)


def _bodies(made: JournalFolder) -> list[bytes]:
    connection = sqlite3.connect(made.path)
    bodies = [body.encode() for (body,) in connection.execute("SELECT body FROM record ORDER BY seq")]
    connection.close()
    return bodies


def _change(made: JournalFolder, *statements: str, functions: dict[str, Callable[..., object]] | None = None) -> None:
    connection = sqlite3.connect(made.path)
    for name, function in (functions or {}).items():
        connection.create_function(name, 1, function, deterministic=True)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def _leaf(body: str) -> bytes:
    return leaf_hash(body.encode())


def test_an_untouched_copy_verifies(copied: JournalFolder, original: JournalFolder) -> None:
    """The copied file alone verifies, its root is the RFC 9162 root of the bodies, and nothing is left beside it."""
    before = copied.path.read_bytes()
    found = copied.verify(checkpoint_path(original.path).read_text())
    assert (found.ok, found.records, found.first_bad, found.problem) == (True, SIZE, None, "")
    assert found.root == root_of(map(leaf_hash, _bodies(copied))).hex()
    assert found.signed == SIZE
    assert [each.name for each in copied.folder.iterdir()] == ["journal.db"]
    assert copied.path.read_bytes() == before


@pytest.mark.parametrize("seq", [1, 2, 64, 65, 100, SIZE - 1, SIZE])
def test_one_flipped_byte(copied: JournalFolder, seq: int) -> None:
    """One changed byte in a body names that record."""
    _change(copied, f"UPDATE record SET body = replace(body, 'tools/call', 'tools/cald') WHERE seq = {seq}")
    found = copied.verify()
    assert (found.ok, found.first_bad, found.records) == (False, seq, SIZE)
    assert f"record {seq}" in found.problem


@pytest.mark.parametrize("at", [0, 5, 200, -1])
def test_one_flipped_byte_that_breaks_the_json(copied: JournalFolder, at: int) -> None:
    """A body that is no JSON any more can be written by SQL, and names its record."""
    changed = bytearray(_bodies(copied)[6])
    changed[at] ^= 0x01
    _change(copied, f"UPDATE record SET body = CAST(x'{changed.hex()}' AS TEXT) WHERE seq = 7")
    assert copied.verify().first_bad == 7


def test_one_flipped_byte_in_the_file_itself(copied: JournalFolder) -> None:
    """The byte is found wherever the record lies in the file."""
    seq = next(at for at, body in enumerate(_bodies(copied), start=1) if b'"id":"call-41"' in body)
    content = bytearray(copied.path.read_bytes())
    content[content.index(b'"id":"call-41"') + 8] ^= 0x20
    copied.path.write_bytes(content)
    found = copied.verify()
    assert (found.ok, found.first_bad) == (False, seq)


@pytest.mark.parametrize("seq", [1, 70, SIZE - 1])
def test_a_removed_record(copied: JournalFolder, seq: int) -> None:
    """A missing record is named, with and without its leaf."""
    _change(copied, f"DELETE FROM record WHERE seq = {seq}")
    found = copied.verify()
    assert (found.ok, found.first_bad, found.records) == (False, seq, SIZE - 1)
    _change(copied, f"DELETE FROM leaf WHERE seq = {seq}")
    assert copied.verify().first_bad == seq


def test_a_removed_record_with_the_others_moved_up(copied: JournalFolder) -> None:
    """Closing the gap by renumbering does not hide it."""
    _change(
        copied,
        "DELETE FROM record WHERE seq = 30",
        "UPDATE record SET seq = -seq WHERE seq > 30",
        "UPDATE record SET seq = -seq - 1 WHERE seq < 0",
    )
    assert copied.verify().first_bad == 30


def test_two_records_in_the_wrong_order(copied: JournalFolder) -> None:
    """Swapped records name the first of the two, with and without their leaves."""
    _change(
        copied,
        "UPDATE record SET seq = 0 WHERE seq = 20",
        "UPDATE record SET seq = 20 WHERE seq = 90",
        "UPDATE record SET seq = 90 WHERE seq = 0",
    )
    assert copied.verify().first_bad == 20
    _change(
        copied,
        "UPDATE leaf SET seq = 0 WHERE seq = 20",
        "UPDATE leaf SET seq = 20 WHERE seq = 90",
        "UPDATE leaf SET seq = 90 WHERE seq = 0",
    )
    assert copied.verify().first_bad == 20


@pytest.mark.parametrize("left", [0, 1, 64, SIZE - 1])
def test_a_cut_end(copied: JournalFolder, original: JournalFolder, left: int) -> None:
    """A journal that is shorter than its checkpoint names the first record that is missing."""
    _change(copied, f"DELETE FROM record WHERE seq > {left}")
    found = copied.verify()
    assert (found.ok, found.first_bad, found.records) == (False, left + 1, left)
    _change(copied, f"DELETE FROM leaf WHERE seq > {left}")
    assert copied.verify().first_bad == left + 1
    _change(copied, f"DELETE FROM checkpoint WHERE size > {left}", f"DELETE FROM facet WHERE seq > {left}")
    assert copied.verify(checkpoint_path(original.path).read_text()).first_bad == left + 1


def _cut(made: JournalFolder, *, with_tree: bool) -> int:
    """Cut the end off, with its checkpoints; returns how many records are left."""
    with closing(sqlite3.connect(made.path)) as connection:
        (left,) = connection.execute("SELECT min(size) FROM checkpoint WHERE size > 0").fetchone()
    tree = Frontier().grown(map(leaf_hash, _bodies(made)[:left]))
    _change(made, *(f"DELETE FROM {table} WHERE {key} > {left}" for table, key in _TABLES))
    if with_tree:
        _change(made, f"UPDATE frontier SET size = {left}, hashes = x'{tree.to_bytes().hex()}'")
    return int(left)


def test_an_end_cut_with_its_checkpoints_and_its_tree_needs_the_checkpoint_kept_elsewhere(
    copied: JournalFolder, original: JournalFolder
) -> None:
    """What nothing in the file can show, the published checkpoint shows."""
    left = _cut(copied, with_tree=True)
    assert copied.verify().ok
    found = copied.verify(checkpoint_path(original.path).read_text())
    assert (found.ok, found.first_bad) == (False, left + 1)


def test_an_end_cut_with_its_checkpoints_alone_is_noticed(copied: JournalFolder) -> None:
    """The tree that the writer goes on with still stands over what was there."""
    _cut(copied, with_tree=False)
    found = copied.verify()
    assert (found.ok, "stored tree" in found.problem) == (False, True)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE frontier SET hashes = zeroblob(length(hashes))",
        "UPDATE frontier SET size = 3",
        "UPDATE frontier SET size = 'many'",
        "UPDATE frontier SET hashes = substr(hex(hashes), 1, length(hashes))",
        "DELETE FROM frontier",
    ],
)
def test_a_tree_that_nothing_can_go_on_with(copied: JournalFolder, statement: str) -> None:
    """Every record is good, and yet none would be written any more: that is told before a start fails."""
    _change(copied, statement)
    found = copied.verify()
    assert (found.ok, found.first_bad, "stored tree" in found.problem) == (False, None, True)
    assert found.records == SIZE


_TABLES = (("record", "seq"), ("leaf", "seq"), ("facet", "seq"), ("checkpoint", "size"))


def test_taken_out_checkpoints(copied: JournalFolder) -> None:
    """Records that no checkpoint covers are refused once there are 64 of them, and a journal without any at once."""
    _change(copied, "DELETE FROM checkpoint WHERE size > 0")
    found = copied.verify()
    assert (found.ok, found.first_bad) == (False, 1)
    assert "never signed" in found.problem
    _change(copied, "DELETE FROM checkpoint")
    found = copied.verify()
    assert (found.ok, found.first_bad, found.problem) == (False, None, "the journal has no checkpoint that verifies")


def test_a_changed_leaf(copied: JournalFolder) -> None:
    """A leaf that does not fit its record names it."""
    _change(copied, "UPDATE leaf SET hash = zeroblob(32) WHERE seq = 12")
    assert copied.verify().first_bad == 12


def test_a_changed_record_with_its_leaf(copied: JournalFolder) -> None:
    """When body and leaf were both changed, the signature shows it: the stretch that begins at or before the record."""
    _change(
        copied,
        "UPDATE record SET body = replace(body, 'calendar-readers', 'calendar-writers') WHERE seq = 100",
        "UPDATE leaf SET hash = leaf_of((SELECT body FROM record WHERE seq = 100)) WHERE seq = 100",
        functions={"leaf_of": _leaf},
    )
    found = copied.verify()
    assert not found.ok
    assert found.first_bad is not None
    assert 100 - 64 < found.first_bad <= 100
    assert "not those that were signed" in found.problem


def test_a_number_inside_that_is_not_the_rows(copied: JournalFolder) -> None:
    """A body with another number is bad even if leaf and tree agree with it."""
    made = copied
    _change(
        made,
        """UPDATE record SET body = replace(body, '"seq":150', '"seq":149') WHERE seq = 150""",
        "UPDATE leaf SET hash = leaf_of((SELECT body FROM record WHERE seq = 150)) WHERE seq = 150",
        functions={"leaf_of": _leaf},
    )
    tree = Frontier().grown(map(leaf_hash, _bodies(made)))
    _change(made, f"UPDATE checkpoint SET note = '{sign_checkpoint(made.key, tree)}' WHERE size = 150")
    found = made.verify()
    assert (found.ok, found.first_bad, found.problem) == (False, 150, "record 150 holds another number")


def test_a_changed_checkpoint(copied: JournalFolder, original: JournalFolder) -> None:
    """A checkpoint whose signature does not hold spoils the journal, and no record is blamed."""
    first = "(SELECT min(size) FROM checkpoint WHERE size > 0)"
    _change(copied, f"UPDATE checkpoint SET note = replace(note, size, size - 1) WHERE size = {first}")
    found = copied.verify()
    assert (found.ok, found.first_bad) == (False, None)
    assert "does not verify" in found.problem


def test_a_checkpoint_stored_as_another(copied: JournalFolder) -> None:
    """A good note under another size is noticed."""
    _change(copied, f"UPDATE checkpoint SET size = {SIZE - 1} WHERE size = {SIZE}")
    assert "is stored as one over" in copied.verify().problem


def test_a_replaced_journal(copied: JournalFolder, tmp_path: Path) -> None:
    """A journal that is whole but of another key is not this journal."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    stranger = make_journal(folder)
    asyncio.run(_write(stranger))
    assert stranger.verify().ok
    found = JournalFolder(folder=folder, key=copied.key).verify()
    assert not found.ok
    assert "not signed by" in found.problem


def test_a_history_written_anew_under_the_same_key(original: JournalFolder, tmp_path: Path) -> None:
    """Whoever has the key can write another history, but not one that fits a checkpoint kept elsewhere."""
    other = JournalFolder(folder=tmp_path, key=original.key)
    create_journal(other.path, key=original.key)
    asyncio.run(_write(other))
    assert other.verify().ok
    assert not other.verify(checkpoint_path(original.path).read_text()).ok


@pytest.mark.parametrize("note", ["", "garbage", "127.0.0.1:8420/journal\n150\nAAAA\n"])
def test_a_given_checkpoint_that_is_none(copied: JournalFolder, note: str) -> None:
    """A checkpoint file that does not verify is a problem, never passed over."""
    found = copied.verify(note)
    assert (found.ok, found.first_bad) == (False, None)
    assert "the given checkpoint does not verify" in found.problem


def test_a_checkpoint_of_another_log_with_our_name(copied: JournalFolder) -> None:
    """The origin proves nothing, the key does."""
    note = sign_checkpoint(JournalKey.new(ORIGIN), Frontier().grown(map(leaf_hash, _bodies(copied))))
    assert not copied.verify(note).ok


def test_a_broken_page(copied: JournalFolder) -> None:
    """A file that SQLite cannot read to its end is not ok, and what cannot be read counts as missing."""
    content = bytearray(copied.path.read_bytes())
    half = len(content) // 2
    content[half:] = bytes(len(content) - half)
    copied.path.write_bytes(content)
    found = copied.verify()
    assert not found.ok
    assert found.first_bad is not None


def test_a_file_that_is_no_database(tmp_path: Path, original: JournalFolder) -> None:
    """Garbage is a finding, not a crash."""
    (tmp_path / "journal.db").write_bytes(b"garbage" * 1000)
    found = JournalFolder(folder=tmp_path, key=original.key).verify()
    assert (found.ok, found.records, found.first_bad) == (False, 0, 1)


def test_an_extra_record(copied: JournalFolder) -> None:
    """A record in front of the first one is bad."""
    _change(copied, "INSERT INTO record (seq, body) VALUES (0, '{\"seq\":0}')")
    assert copied.verify().first_bad == 0


def test_a_copy_with_its_write_ahead_log(tmp_path: Path) -> None:
    """Records that lie in the log only, as after a crash, belong to the journal."""
    made = make_journal(tmp_path)
    script = (
        "import asyncio, os, pathlib, sys\n"
        "from tests.support.journals import *\n"
        "from perhop.journal.keys import load_journal_key\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "made = JournalFolder(folder=folder, key=load_journal_key(folder / 'keys'))\n"
        "async def main():\n"
        "    journal = made.open()\n"
        "    await asyncio.gather(*(journal.append(a_permit(n)) for n in range(20)))\n"
        "    os._exit(9)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == 9
    assert (tmp_path / "journal.db-wal").stat().st_size > 0
    found = made.verify()
    assert (found.ok, found.records) == (True, 20)


# --- facets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE facet SET in_jti = 'another' WHERE seq = 40",
        "UPDATE facet SET time = time + 1 WHERE seq = 40",
        "UPDATE facet SET network = NULL WHERE seq = 40",
        "UPDATE facet SET kind = 99 WHERE seq = 40",
        "DELETE FROM facet WHERE seq = 40",
    ],
)
def test_facets_that_are_not_those_of_the_record(copied: JournalFolder, statement: str) -> None:
    """Whoever hides a record from questions changes its facets, and verification names the record."""
    _change(copied, statement)
    found = copied.verify()
    assert (found.ok, found.first_bad) == (False, 40)
    assert "the facets of record 40" in found.problem


@pytest.mark.parametrize(
    "statement", ["UPDATE kind SET client = 'nobody'", "DELETE FROM kind", "UPDATE term SET text = text || '!'"]
)
def test_what_many_facets_share(copied: JournalFolder, statement: str) -> None:
    """A change of a kind or a term is a change of every record that has it."""
    _change(copied, statement)
    assert copied.verify().first_bad == 1


def test_facets_of_no_record(copied: JournalFolder) -> None:
    """Facets without a record would let a question find what never was."""
    _change(copied, "INSERT INTO facet (seq, kind) VALUES (-3, 1)")
    assert copied.verify().first_bad == -3


def test_an_index_that_leaves_out_a_row(copied: JournalFolder) -> None:
    """An index is read instead of its table, so it is held against it."""
    index = "CREATE INDEX facet_in_jti ON facet (in_jti) WHERE in_jti IS NOT NULL"
    gap = index.replace("IS NOT NULL", "IS NOT NULL AND seq <> 77")
    _change(
        copied,
        "DROP INDEX facet_in_jti",
        gap,
        "PRAGMA writable_schema = 1",
        f"UPDATE sqlite_master SET sql = '{index}' WHERE name = 'facet_in_jti'",
    )
    found = copied.verify()
    assert (found.ok, found.first_bad) == (False, 77)
    assert "facet_in_jti" in found.problem


@pytest.mark.parametrize(
    "statement",
    [
        "DROP INDEX facet_txn",
        "CREATE TRIGGER quiet AFTER INSERT ON facet BEGIN DELETE FROM facet WHERE seq = new.seq; END",
    ],
)
def test_what_is_not_of_this_version(copied: JournalFolder, statement: str) -> None:
    """An index less, or a trigger more, is noticed though every record is right."""
    _change(copied, statement)
    found = copied.verify()
    assert (found.ok, found.first_bad) == (False, None)
    assert "not those of this version" in found.problem


# --- proofs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seq", [1, 2, 77, SIZE])
def test_a_record_is_proved_with_the_public_key_alone(original: JournalFolder, seq: int) -> None:
    """The document goes through JSON, holds the record, and verifies offline."""
    with original.queries() as reader:
        document = json.loads(json.dumps(make_proof(reader, seq)))
    assert check_proof(document, original.key.verify_key)["seq"] == seq


def test_a_changed_proof_proves_nothing(original: JournalFolder) -> None:
    """No member of the document can be changed or left out."""
    with original.queries() as reader:
        document = make_proof(reader, 77)
        other = make_proof(reader, 78)
    for change in (
        {"seq": 78},
        {"seq": True},
        {"seq": "77"},
        {"record": other["record"]},
        {"record": "{}"},
        {"record": "\ud800"},
        {"path": other["path"]},
        {"path": document["path"][:-1]},
        {"path": [*document["path"], document["path"][0]]},
        {"path": [1]},
        {"checkpoint": document["checkpoint"].replace("150", "149")},
        {"checkpoint": ""},
        {"format": "other"},
        *({name: None} for name in document),
    ):
        with pytest.raises(CheckFailed):
            check_proof({**document, **change}, original.key.verify_key)
    with pytest.raises(CheckFailed, match="not signed by"):
        check_proof(document, JournalKey.new(ORIGIN).verify_key)


def test_no_proof_of_a_record_that_is_not_there(original: JournalFolder) -> None:
    """Asking for a record outside the journal says so."""
    with original.queries() as reader:
        for seq in (0, -1, SIZE + 1):
            with pytest.raises(NotFound):
                make_proof(reader, seq)
