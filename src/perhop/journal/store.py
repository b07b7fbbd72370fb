"""What the journal's writer asks of storage: one transaction at a time, from one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from perhop.journal.facets import Facets
from perhop.journal.tree import Frontier


class Row(NamedTuple):
    """One record as it is stored: `leaf` is the hash of the body, `facets` are those of the body."""

    seq: int
    body: str
    leaf: bytes
    facets: Facets


@dataclass(frozen=True, slots=True)
class SignedTree:
    """A checkpoint note, and the frontier whose root it signs."""

    frontier: Frontier
    note: str


WHOLE = SignedTree(Frontier(), "")
"""The base of a journal that begins with its first record: the tree over nothing, which needs no signature."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The journal, which begins after record `after`, is to begin after the records of `base`."""

    after: int
    base: SignedTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What is needed to go on after a stop, as it was found, unchecked.

    `rows` are the last records, beginning at or before the signed tree's end: seq, body, leaf (None if it is missing).
    `size` is the highest `seq`. `published` is the checkpoint that was last written beside the journal, if it is there.
    The records up to `base` are archived, and not in the file: `first` is the lowest `seq` after them, if there is one.
    """

    size: int
    first: int | None
    base: SignedTree
    signed: SignedTree
    rows: Sequence[tuple[int, bytes, bytes | None]]
    published: str | None


class JournalStore(Protocol):
    """The journal's file. Whoever holds one is the only writer. All verbs raise JournalUnavailable if it fails."""

    def load(self) -> Tail:
        """Open the file anew, and read its end. Raises JournalDamaged for a file that is no journal."""
        ...

    def commit(self, rows: Sequence[Row], signed: SignedTree | None, cut: Cut | None = None) -> None:
        """All of it durable when it returns, or, when it raises, possibly all of it and else nothing.

        After a cut the records up to the base count as gone, and `sweep` takes them out.
        """
        ...

    def sweep(self) -> bool:
        """Take some of the records below the base out of the file; True when none is left."""
        ...

    def publish(self, note: str) -> None:
        """Write the checkpoint beside the journal, whole or not at all."""
        ...

    def close(self) -> None:
        """Let the file and the writer's lock go. Does not raise."""
        ...
