"""The Merkle tree over the records: hashes, the frontier that grows, proofs and their verification. Pure.

Leaves are the bytes of the records' bodies. Ranges are half open and count from 0; record `seq` is leaf `seq - 1`.

Spec: RFC 9162 §2.1
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Range = tuple[int, int]
"""Leaves from the first number up to, and without, the second."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of one leaf. Spec: RFC 9162 §2.1.1."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node. Spec: RFC 9162 §2.1.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees of a tree of `size` leaves, largest first: all that growing needs.

    INVARIANT: `len(hashes)` is the number of one bits of `size`.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise ValueError(f"{len(self.hashes)} hashes are no frontier of {self.size} leaves")

    def grown(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after these leaf hashes are appended; this one stays as it is."""
        size, hashes = self.size, list(self.hashes)
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = hashlib.sha256(b"\x01" + hashes.pop() + node).digest()  # `node_hash`, on the way of every record
                carry >>= 1
            hashes.append(node)
            size += 1
        return Frontier(size, tuple(hashes))

    def root(self) -> bytes:
        """The Merkle tree hash. Spec: RFC 9162 §2.1.1."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root

    def ranges(self) -> list[Range]:
        """The leaves under each of the hashes."""
        found, start = [], 0
        for bit in reversed(range(self.size.bit_length())):
            if self.size >> bit & 1:
                found.append((start, start + (1 << bit)))
                start += 1 << bit
        return found

    def to_bytes(self) -> bytes:
        """The hashes one after the other, as they are stored."""
        return b"".join(self.hashes)

    @classmethod
    def of_bytes(cls, size: int, stored: bytes) -> Frontier:
        """The reverse of `to_bytes`. Raises: ValueError."""
        if len(stored) % HASH_SIZE:
            raise ValueError("a stored frontier is a row of whole hashes")
        return cls(size, tuple(stored[at : at + HASH_SIZE] for at in range(0, len(stored), HASH_SIZE)))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Merkle tree hash of these leaf hashes. Spec: RFC 9162 §2.1.1."""
    return Frontier().grown(leaves).root()


Leaves = Callable[[int, int], Iterable[bytes]]
"""Gives the leaf hashes of a range."""


def subtree_root(base: Frontier, start: int, stop: int, leaves: Leaves) -> bytes:
    """Root over a range of which the leaves below `base.size` are known by the frontier there only.

    Of every proof about leaves, and trees, from `base.size` on, each range can be had: what such a range has below it
    is a row of whole subtrees of the frontier. Of a range that breaks one up, nothing is left.

    Raises: ValueError
    """
    if start >= base.size:
        return root_of(leaves(start, stop))
    known = min(stop, base.size)
    pairs = [
        (first, last, node)
        for (first, last), node in zip(base.ranges(), base.hashes, strict=True)
        if start <= first and last <= known
    ]
    if start % (1 << (stop - start - 1).bit_length()) or sum(last - first for first, last, _ in pairs) != known - start:
        raise ValueError(f"the frontier of {base.size} leaves does not hold the root over {start} to {stop}")
    left = Frontier(known - start, tuple(node for *_, node in pairs))
    return (left.grown(leaves(known, stop)) if stop > known else left).root()


def _split(size: int) -> int:
    """The largest power of two that is smaller than `size`, for a size above one."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose roots are the inclusion proof of leaf `index`, from the leaf's sibling upwards.

    Spec: RFC 9162 §2.1.3.1
    Raises: ValueError
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path: list[Range] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append((middle, stop))
            stop = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def inclusion_roots(indexes: Iterable[int], size: int, root_over: Callable[[int, int], bytes]) -> dict[Range, bytes]:
    """The roots of all subtrees that the inclusion proofs of these leaves name, and of the whole tree.

    `root_over` makes the root of a range from its leaves. Each leaf is in one such range, for any number of proofs.

    Spec: RFC 9162 §2.1.3.1
    Raises: ValueError
    """
    roots: dict[Range, bytes] = {}
    wanted = sorted(set(indexes))
    if not wanted or not 0 <= wanted[0] <= wanted[-1] < size:
        raise ValueError(f"these leaves are not in a tree of {size}")

    def root(start: int, stop: int, inside: Sequence[int]) -> bytes:
        if inside and stop - start > 1:
            # One of the leaves is in here, so both halves are named by its proof, or lead to it.
            middle = start + _split(stop - start)
            at = bisect_left(inside, middle)
            made = node_hash(root(start, middle, inside[:at]), root(middle, stop, inside[at:]))
        else:
            made = root_over(start, stop)
        roots[start, stop] = made
        return made

    root(0, size, wanted)
    return roots


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees whose roots prove that a tree of `new` leaves begins with the tree of `old` leaves.

    Spec: RFC 9162 §2.1.4.1
    Raises: ValueError
    """
    if not 0 < old <= new:
        raise ValueError(f"no proof leads from {old} to {new} leaves")
    path: list[Range] = []
    start, stop, whole = 0, new, True
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            path.append((middle, stop))
            stop = middle
        else:
            path.append((start, middle))
            start, whole = middle, False
    if not whole:
        path.append((start, stop))
    return path[::-1]


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """True if the path proves that the leaf hash stands at `index` in the tree with this root.

    Spec: RFC 9162 §2.1.3.2
    """
    if not 0 <= index < size:
        return False
    position, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and node == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """True if the path proves that the tree of `new` leaves begins with the tree of `old` leaves.

    An empty tree is the beginning of every tree, and needs no proof.

    Spec: RFC 9162 §2.1.4.2
    """
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and new > 0 and old_root == EMPTY_ROOT
    if not 0 < old < new:
        return False
    nodes = [old_root, *path] if old.bit_count() == 1 else list(path)
    if not nodes:
        return False
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_node = new_node = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new_node = node_hash(new_node, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and old_node == old_root and new_node == new_root
