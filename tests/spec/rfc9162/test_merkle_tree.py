"""The tree against known answers: the eight leaves that Certificate Transparency implementations share."""

from __future__ import annotations

import pytest

from perhop.journal.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_ranges,
    inclusion_ranges,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)

LEAVES = [
    leaf_hash(bytes.fromhex(data))
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]

ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

# (leaf index, tree size, path)
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]

# (old size, new size, path)
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


def _root(size: int) -> bytes:
    return bytes.fromhex(ROOTS[size])


def _built(ranges: list[tuple[int, int]]) -> list[str]:
    return [root_of(LEAVES[start:stop]).hex() for start, stop in ranges]


@pytest.mark.parametrize("size", range(9))
def test_root_of_the_first_leaves(size: int) -> None:
    """The Merkle tree hash is that of RFC 9162 §2.1.1, for the empty tree too."""
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]
    assert ROOTS[0] == EMPTY_ROOT.hex()


@pytest.mark.parametrize("size", range(9))
def test_frontier_grows_to_the_same_root(size: int) -> None:
    """A frontier that grew in two steps has the root of the whole."""
    assert Frontier().grown(LEAVES[: size // 2]).grown(LEAVES[size // 2 : size]).root() == _root(size)


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_proof(index: int, size: int, path: list[str]) -> None:
    """The path is that of RFC 9162 §2.1.3.1, and it verifies for its own leaf, index, size and root only."""
    siblings = [bytes.fromhex(each) for each in path]
    assert _built(inclusion_ranges(index, size)) == path
    assert is_included(LEAVES[index], index, size, siblings, _root(size))
    assert not is_included(LEAVES[index], index + 1, size, siblings, _root(size))
    assert not is_included(LEAVES[index], index - 1, size, siblings, _root(size))
    assert not is_included(LEAVES[index], index, size, siblings, EMPTY_ROOT)
    assert not is_included(leaf_hash(b"other"), index, size, siblings, _root(size))
    assert not is_included(LEAVES[index], index, size, [*siblings, _root(size)], _root(size))
    assert not is_included(LEAVES[index], index, size, [_root(size), *siblings], _root(size))
    for at in range(len(siblings)):
        assert not is_included(LEAVES[index], index, size, siblings[:at] + siblings[at + 1 :], _root(size))
        wrong = [*siblings[:at], EMPTY_ROOT, *siblings[at + 1 :]]
        assert not is_included(LEAVES[index], index, size, wrong, _root(size))


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_proof(old: int, new: int, path: list[str]) -> None:
    """The path is that of RFC 9162 §2.1.4.1, and it verifies for its own sizes and roots only."""
    nodes = [bytes.fromhex(each) for each in path]
    assert _built(consistency_ranges(old, new)) == path
    assert is_consistent(old, new, _root(old), _root(new), nodes)
    assert not is_consistent(old, new, EMPTY_ROOT, _root(new), nodes)
    assert not is_consistent(old, new, _root(old), EMPTY_ROOT, nodes)
    assert not is_consistent(old, new, _root(old), _root(new), [*nodes, _root(new)])
    assert not is_consistent(old, new, _root(old), _root(new), [_root(old), *nodes])
    assert not is_consistent(new + 1, new, _root(old), _root(new), nodes)
    if path:
        assert not is_consistent(old - 1, new, _root(old), _root(new), nodes)
        assert not is_consistent(old, new * 2, _root(old), _root(new), nodes)
        assert not is_consistent(old, new, _root(old), _root(new), [])
        assert not is_consistent(old, new, _root(old), _root(new), nodes[:-1])


def test_a_tree_never_shrinks() -> None:
    """No proof leads from more leaves to fewer."""
    assert not is_consistent(2, 1, _root(2), _root(1), [])
    assert not is_consistent(1, 0, _root(1), _root(0), [])
    with pytest.raises(ValueError, match="no proof leads"):
        consistency_ranges(2, 1)


def test_every_tree_begins_with_the_empty_one() -> None:
    """The empty tree needs no proof, and has one root only."""
    assert is_consistent(0, 5, EMPTY_ROOT, _root(5), [])
    assert is_consistent(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert not is_consistent(0, 5, _root(1), _root(5), [])
    assert not is_consistent(0, 5, EMPTY_ROOT, _root(5), [_root(1)])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (3, 3)])
def test_no_path_to_a_leaf_outside(index: int, size: int) -> None:
    """A leaf that is not in the tree has no path, and none verifies."""
    assert not is_included(LEAVES[0], index, size, [], _root(1))
    with pytest.raises(ValueError, match="is not in a tree"):
        inclusion_ranges(index, size)
