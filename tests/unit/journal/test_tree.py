"""The tree against the naive definition of RFC 9162 §2.1, for any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.journal.tree import (
    EMPTY_ROOT,
    Frontier,
    Leaves,
    consistency_ranges,
    inclusion_ranges,
    inclusion_roots,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
    subtree_root,
)
from tests.support import recursive_tree

SIZES = st.integers(min_value=1, max_value=70)
LEAVES = [leaf_hash(str(number).encode()) for number in range(70)]


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
    assert (frontier.size, frontier.root()) == (size, recursive_tree.root(LEAVES[:size]))


@given(SIZES, st.data())
def test_inclusion(size: int, data: st.DataObject) -> None:
    """Every leaf has the path of the definition, which proves this leaf at this index and no other leaf."""
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    other = data.draw(st.integers(min_value=0, max_value=69))
    path, root = recursive_tree.path(index, LEAVES[:size]), recursive_tree.root(LEAVES[:size])
    assert built(inclusion_ranges(index, size)) == path
    assert is_included(LEAVES[index], index, size, path, root)
    assert is_included(LEAVES[other], index, size, path, root) == (other == index)
    assert is_included(LEAVES[index], other, size, path, root) == (other == index)


@given(SIZES, st.data())
def test_consistency(new: int, data: st.DataObject) -> None:
    """Every earlier tree has the proof of the definition, which holds for its own root only."""
    old = data.draw(st.integers(min_value=1, max_value=new))
    other = data.draw(st.integers(min_value=1, max_value=new))
    path = recursive_tree.proof(old, LEAVES[:new])
    new_root, other_root = recursive_tree.root(LEAVES[:new]), recursive_tree.root(LEAVES[:other])
    assert built(consistency_ranges(old, new)) == path
    assert is_consistent(old, new, recursive_tree.root(LEAVES[:old]), new_root, path)
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


def leaves_from(base: int) -> Leaves:
    """The leaves of a file that begins after `base` of them; whoever asks for an earlier one gets an error."""

    def leaves(start: int, stop: int) -> list[bytes]:
        assert start >= base, f"leaf {start} is archived"
        return LEAVES[start:stop]

    return leaves


@given(SIZES, st.data())
def test_paths_to_what_stands_right_of_a_base(size: int, data: st.DataObject) -> None:
    """With the frontier of the archived leaves, every later leaf has the path of the definition over all of them."""
    base = data.draw(st.integers(min_value=0, max_value=size - 1))
    index = data.draw(st.integers(min_value=base, max_value=size - 1))
    frontier = Frontier().grown(LEAVES[:base])
    ranges = inclusion_ranges(index, size)
    path = [subtree_root(frontier, start, stop, leaves_from(base)) for start, stop in ranges]
    assert path == recursive_tree.path(index, LEAVES[:size])
    assert is_included(LEAVES[index], index, size, path, recursive_tree.root(LEAVES[:size]))


@given(SIZES, st.data())
def test_consistency_from_a_base_on(new: int, data: st.DataObject) -> None:
    """Every tree from the base on has the proof of the definition to every later one, without a leaf of before."""
    base = data.draw(st.integers(min_value=0, max_value=new))
    old = data.draw(st.integers(min_value=max(1, base), max_value=new))
    frontier = Frontier().grown(LEAVES[:base])
    ranges = consistency_ranges(old, new)
    proof = [subtree_root(frontier, start, stop, leaves_from(base)) for start, stop in ranges]
    assert proof == recursive_tree.proof(old, LEAVES[:new])


@given(SIZES, st.data())
def test_a_base_gives_its_own_hashes_and_no_other(base: int, data: st.DataObject) -> None:
    """Of the subtrees left of a base, the hashes of its frontier can be had, and a part of one cannot."""
    frontier = Frontier().grown(LEAVES[:base])
    start, stop = data.draw(st.sampled_from(frontier.ranges()))
    assert subtree_root(frontier, start, stop, leaves_from(base)) == recursive_tree.root(LEAVES[start:stop])
    if stop - start > 1:
        with pytest.raises(ValueError, match="does not hold the root"):
            subtree_root(frontier, start, (start + stop) // 2, leaves_from(base))


@given(size=SIZES, data=st.data())
def test_the_roots_of_many_proofs_are_made_from_each_leaf_once(size: int, data: st.DataObject) -> None:
    """Whichever leaves from a base on are proved together, each path is that of the definition; no leaf comes twice."""
    asked: list[int] = []
    base = data.draw(st.integers(0, size - 1))
    frontier = Frontier().grown(LEAVES[:base])

    def root_over(start: int, stop: int) -> bytes:
        asked.extend(range(start, stop))
        return subtree_root(frontier, start, stop, leaves_from(base))

    indexes = data.draw(st.lists(st.integers(base, size - 1), min_size=1, max_size=9))
    roots = inclusion_roots(indexes, size, root_over)
    assert sorted(asked) == list(range(size))
    assert roots[0, size] == recursive_tree.root(LEAVES[:size])
    for index in indexes:
        assert [roots[each] for each in inclusion_ranges(index, size)] == recursive_tree.path(index, LEAVES[:size])


@pytest.mark.parametrize("indexes", [[], [-1], [3], [0, 3]])
def test_leaves_outside_the_tree_have_no_roots(indexes: list[int]) -> None:
    """Asking for none, or for one that is not there, is refused."""
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_roots(indexes, 3, lambda start, stop: recursive_tree.root(LEAVES[start:stop]))
