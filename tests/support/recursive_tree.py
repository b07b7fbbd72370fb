"""The Merkle tree as RFC 9162 §2.1 defines it, word for word and recursively: slow, and shares nothing with ours."""

from __future__ import annotations

import hashlib


def leaf(entry: bytes) -> bytes:
    """Hash of one entry of the list."""
    return hashlib.sha256(b"\x00" + entry).digest()


def root(leaves: list[bytes]) -> bytes:
    """MTH over leaf hashes, RFC 9162 §2.1.1: split at the largest power of two smaller than the size."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    at = _split(leaves)
    return hashlib.sha256(b"\x01" + root(leaves[:at]) + root(leaves[at:])).digest()


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1."""
    if len(leaves) <= 1:
        return []
    at = _split(leaves)
    if index < at:
        return [*path(index, leaves[:at]), root(leaves[at:])]
    return [*path(index - at, leaves[at:]), root(leaves[:at])]


def proof(old: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162 §2.1.4.1; with `whole`, PROOF."""
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    at = _split(leaves)
    if old <= at:
        return [*proof(old, leaves[:at], whole=whole), root(leaves[at:])]
    return [*proof(old - at, leaves[at:], whole=False), root(leaves[:at])]


def _split(leaves: list[bytes]) -> int:
    at = 1
    while at * 2 < len(leaves):
        at *= 2
    return at
