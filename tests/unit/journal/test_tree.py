"""The tree against the naive definition of RFC 9162 §2.1, for any size."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.journal.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_ranges,
    inclusion_ranges,
    inclusion_roots,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)

SIZES = st.integers(min_value=1, max_value=70)
LEAVES = [leaf_hash(str(number).encode()) for number in range(70)]


def naive_root(leaves: list[bytes]) -> bytes:
    """The definition, word for word: split at the largest power of two smaller than the size."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    at = 1
    while at * 2 < len(leaves):
        at *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:at]) + naive_root(leaves[at:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1."""
    if len(leaves) <= 1:
        return []
    at = 1
    while at * 2 < len(leaves):
        at *= 2
    if index < at:
        return [*naive_path(index, leaves[:at]), naive_root(leaves[at:])]
    return [*naive_path(index - at, leaves[at:]), naive_root(leaves[:at])]


def naive_proof(old: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162 §2.1.4.1."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    at = 1
    while at * 2 < len(leaves):
        at *= 2
    if old <= at:
        return [*naive_proof(old, leaves[:at], whole=whole), naive_root(leaves[at:])]
    return [*naive_proof(old - at, leaves[at:], whole=False), naive_root(leaves[:at])]


def built(ranges: list[tuple[int, int]]) -> list[bytes]:
    return [root_of(LEAVES[start:stop]) for start, stop in ranges]


@given(SIZES, st.data())
def test_growing_in_steps_is_the_definition(size: int, data: st.DataObject) -> None:
    """However the leaves are dealt into batches, the root is that of the definition, and storing changes nothing."""
    frontier, at = Frontier(), 0
    while at < size:
        step = data.draw(st.integers(min_value=1, max_value=size - at))
        frontier = frontier.grown(LEAVES[at : at + step])
        frontier = Frontier.of_bytes(frontier.size, frontier.to_bytes())
        at += step
    assert (frontier.size, frontier.root()) == (size, naive_root(LEAVES[:size]))


@given(SIZES, st.data())
def test_inclusion(size: int, data: st.DataObject) -> None:
    """Every leaf has the path of the definition, which proves this leaf at this index and no other leaf."""
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    other = data.draw(st.integers(min_value=0, max_value=69))
    path, root = naive_path(index, LEAVES[:size]), naive_root(LEAVES[:size])
    assert built(inclusion_ranges(index, size)) == path
    assert is_included(LEAVES[index], index, size, path, root)
    assert is_included(LEAVES[other], index, size, path, root) == (other == index)
    assert is_included(LEAVES[index], other, size, path, root) == (other == index)


@given(SIZES, st.data())
def test_consistency(new: int, data: st.DataObject) -> None:
    """Every earlier tree has the proof of the definition, which holds for its own root only."""
    old = data.draw(st.integers(min_value=1, max_value=new))
    other = data.draw(st.integers(min_value=1, max_value=new))
    path = naive_proof(old, LEAVES[:new])
    new_root, other_root = naive_root(LEAVES[:new]), naive_root(LEAVES[:other])
    assert built(consistency_ranges(old, new)) == path
    assert is_consistent(old, new, naive_root(LEAVES[:old]), new_root, path)
    assert is_consistent(old, new, other_root, new_root, path) == (other == old)


def test_growing_leaves_the_old_frontier_as_it_was() -> None:
    """A batch that is rolled back leaves no trace in the tree."""
    before = Frontier().grown(LEAVES[:5])
    root = before.root()
    before.grown(LEAVES[5:9])
    assert (before.size, before.root()) == (5, root)
    assert Frontier().root() == EMPTY_ROOT


@pytest.mark.parametrize("hashes", [b"", b"x" * 32, b"x" * 33, b"x" * 96])
def test_stored_frontier_must_fit_its_size(hashes: bytes) -> None:
    """A stored frontier with too few, too many or broken hashes is refused."""
    with pytest.raises(ValueError, match=r"hashes|frontier"):
        Frontier.of_bytes(5, hashes)


@given(size=SIZES, data=st.data())
def test_the_roots_of_many_proofs_are_made_from_each_leaf_once(size: int, data: st.DataObject) -> None:
    """Whichever leaves are proved together, every path is that of the definition, and no leaf is asked for twice."""
    asked: list[int] = []

    def root_over(start: int, stop: int) -> bytes:
        asked.extend(range(start, stop))
        return naive_root(LEAVES[start:stop])

    indexes = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=9))
    roots = inclusion_roots(indexes, size, root_over)
    assert sorted(asked) == list(range(size))
    assert roots[0, size] == naive_root(LEAVES[:size])
    for index in indexes:
        assert [roots[each] for each in inclusion_ranges(index, size)] == naive_path(index, LEAVES[:size])


@pytest.mark.parametrize("indexes", [[], [-1], [3], [0, 3]])
def test_leaves_outside_the_tree_have_no_roots(indexes: list[int]) -> None:
    """Asking for none, or for one that is not there, is refused."""
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_roots(indexes, 3, lambda start, stop: naive_root(LEAVES[start:stop]))
