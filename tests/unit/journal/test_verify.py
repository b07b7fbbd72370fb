"""Verification over any StoredJournal, without a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import JournalDamaged
from perhop.journal.checkpoint import sign_checkpoint, sign_note
from perhop.journal.keys import JournalKey
from perhop.journal.store import WHOLE, SignedTree
from perhop.journal.tree import Frontier, leaf_hash
from perhop.journal.verify import PROGRESS_EVERY, StoredRow, Verification, verify_journal

KEY = JournalKey.new("example.com/log")


@dataclass(frozen=True)
class ListedJournal:
    """A StoredJournal of the first version, in memory; reading breaks off at row `breaks_at`."""

    bodies: tuple[bytes, ...]
    stored: tuple[tuple[int, str], ...]
    leaf_hashes: tuple[bytes, ...] = field(default=())
    breaks_at: int | None = None
    signed_leaves: tuple[bytes, ...] = ()
    """Over these is the tree that the writer goes on with."""

    def base(self) -> SignedTree:
        return WHOLE

    def frontier(self) -> Frontier:
        return Frontier().grown(self.signed_leaves)

    def is_sealed(self) -> bool:
        return False

    def rows(self) -> Iterator[StoredRow]:
        for seq, body in enumerate(self.bodies, start=1):
            if seq == self.breaks_at:
                raise JournalDamaged("the disk is broken")
            yield StoredRow(seq, body, self.leaf_hashes[seq - 1] if seq <= len(self.leaf_hashes) else None, None)

    def notes(self) -> Sequence[tuple[int, str]]:
        return self.stored

    def leaf_count(self) -> int:
        return len(self.leaf_hashes)

    def has_facets(self) -> bool:
        return False

    def stray_facets(self) -> Sequence[int]:
        return []

    def structure_faults(self) -> Iterator[tuple[int | None, str]]:
        return iter(())


def _body(seq: int) -> bytes:
    return f'{{"seq":{seq}}}'.encode()


def _journal(size: int, *checkpoints: int) -> ListedJournal:
    bodies = tuple(_body(seq) for seq in range(1, size + 1))
    leaves = tuple(map(leaf_hash, bodies))
    notes = [(at, sign_checkpoint(KEY, Frontier().grown(leaves[:at]))) for at in checkpoints]
    return ListedJournal(bodies, tuple(notes), leaves, signed_leaves=leaves[: max(checkpoints, default=0)])


def _verify(journal: ListedJournal) -> Verification:
    return verify_journal(journal, KEY.verify_key)


@given(size=st.integers(1, 90), data=st.data())
def test_any_change_is_noticed(size: int, data: st.DataObject) -> None:
    """Whichever record is changed, moved or taken out, with its leaf or without, the journal is not ok."""
    points = sorted({0, size, *data.draw(st.lists(st.integers(1, size), max_size=4))})
    journal = _journal(size, *points)
    assert _verify(journal).ok
    at = data.draw(st.integers(0, size - 1))
    with_leaf = data.draw(st.booleans())
    bodies = list(journal.bodies)
    match data.draw(st.sampled_from(["change", "remove", "swap"])):
        case "change":
            bodies[at] = _body(at + 1) + b" "
        case "remove":
            del bodies[at]
        case _:
            other = data.draw(st.integers(0, size - 1).filter(lambda each: size == 1 or each != at))
            bodies[at], bodies[other] = bodies[other], bodies[at] + b" " * (size == 1)
            at = min(at, other)
    leaves = tuple(map(leaf_hash, bodies)) if with_leaf else journal.leaf_hashes
    found = _verify(replace(journal, bodies=tuple(bodies), leaf_hashes=leaves))
    assert not found.ok
    assert found.first_bad is not None
    assert found.first_bad <= at + 1
    if not with_leaf:
        assert found.first_bad == at + 1


def test_sixty_three_unsigned_records_are_ok_and_sixty_four_are_not() -> None:
    """The writer never leaves 64 records unsigned, so a journal that has them lost its checkpoints."""
    assert _verify(_journal(163, 0, 100)).ok
    found = _verify(_journal(164, 0, 100))
    assert (found.ok, found.first_bad, found.signed) == (False, 101, 100)


def test_what_cannot_be_read_is_bad() -> None:
    """A file that breaks off names the first record that could not be read."""
    found = _verify(replace(_journal(20, 0, 20), breaks_at=8))
    assert (found.ok, found.first_bad, found.records, found.problem) == (False, 8, 7, "the disk is broken")


def test_the_first_problem_is_told() -> None:
    """Of several bad records the lowest is named."""
    journal = _journal(30, 0, 30)
    bodies = (*journal.bodies[:9], b"x", *journal.bodies[10:19], b"y", *journal.bodies[20:])
    found = _verify(replace(journal, bodies=bodies))
    assert (found.first_bad, found.problem) == (10, "record 10 is not what its leaf says")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"seq":"1"}', b'{"seq":1', b"\xff", b"[" * 100_000, b'{"seq":2}'])
def test_a_signed_body_that_is_no_record(body: bytes) -> None:
    """Even under a right signature a body must be an object that holds its own number."""
    leaf = leaf_hash(body)
    note = sign_checkpoint(KEY, Frontier().grown([leaf]))
    found = _verify(ListedJournal((body,), ((1, note),), (leaf,), signed_leaves=(leaf,)))
    assert (found.ok, found.first_bad) == (False, 1)


def test_a_checkpoint_over_nothing_has_the_empty_root() -> None:
    """A signed root for no records at all would vouch for something else."""
    tree = Frontier(1, (bytes(32),))
    text = f"{KEY.name}\n0\n{sign_checkpoint(KEY, tree).splitlines()[2]}\n"
    found = _verify(ListedJournal((), ((0, f"{text}\n{sign_note(KEY, text)}"),)))
    assert (found.ok, found.problem) == (False, "the checkpoint over no records has a root")


def test_progress_is_told() -> None:
    """A long verification says how far it is."""
    seen: list[int] = []
    size = PROGRESS_EVERY + 5
    assert verify_journal(_journal(size, 0, size), KEY.verify_key, progress=seen.append).ok
    assert seen == [PROGRESS_EVERY]
