"""Verifying the live journal and every archived segment as one: each file begins with the tree that the one before
ends with, and is the very file that a signed record says was archived.

The record of a segment stands in the live journal, or in a later segment: whoever goes back from the live file has
always read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from perhop.errors import JournalDamaged, NotFound
from perhop.journal.archived import Archived
from perhop.journal.checkpoint import CheckpointInvalid, verify_checkpoint
from perhop.journal.keys import JournalVerifyKey
from perhop.journal.verify import StoredJournal, Verification, verify_journal


class Archive(Protocol):
    """Where segments are, by name."""

    def sha256(self, name: str) -> str | None:
        """The digest of the whole file (hex), None if there is none of this name. Raises JournalUnavailable."""
        ...

    def names(self) -> Sequence[str]:
        """Every file that is named as a segment."""
        ...

    def open(self, name: str) -> AbstractContextManager[StoredJournal]:
        """The segment. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One segment, as it was archived, and as it was found: `problem` is empty if that is the same."""

    archived: Archived
    problem: str
    first_bad: int | None
    found: Verification | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The live file, and the segments before it in their order. `records` are there in all of them together."""

    live: Verification
    links: tuple[Link, ...]
    problem: str
    first_bad: int | None

    @property
    def ok(self) -> bool:
        return not self.problem

    @property
    def records(self) -> int:
        return self.live.records + sum(each.found.records for each in self.links if each.found is not None)


def older_checkpoints(notes: Sequence[str], key: JournalVerifyKey, *, base: int) -> tuple[list[str], list[str]]:
    """Of checkpoints that were kept elsewhere, those for the live file, and those over archived records only."""
    older = [note for note in notes if 0 < _size(note, key) < base]
    return [note for note in notes if note not in older], older


def _size(note: str, key: JournalVerifyKey) -> int:
    try:
        return verify_checkpoint(note, key).size
    except CheckpointInvalid:
        return 0  # the live file's verification says what is wrong with it


def verify_chain(
    live: Verification,
    archive: Archive,
    key: JournalVerifyKey,
    *,
    checkpoints: Sequence[str] = (),
    progress: Callable[[str, int], None] | None = None,
) -> Chain:
    """Verify every segment on which a live file that was just verified rests. `checkpoints` are the older ones."""
    said = list(live.archived)
    links: list[Link] = []
    end, root, problem = live.first - 1, live.base_root, live.problem
    first_bad = live.first_bad
    while end > 0:
        archived = next((each for each in reversed(said) if each.last == end), None)
        if archived is None:
            problem = problem or f"no record says which file holds the records up to {end}"
            first_bad = _lowest(first_bad, 1 + max((each.last for each in said if each.last < end), default=0))
            break
        kept = [note for note in checkpoints if archived.first <= _size(note, key) <= end]
        link = _link(archived, archive, key, root=root, kept=kept, progress=progress)
        links.append(link)
        # The lowest problem is told, and the live file's own before all others.
        problem, first_bad = live.problem or link.problem or problem, _lowest(first_bad, link.first_bad)
        found = link.found
        said = [*(found.archived if found is not None else ()), *said]
        end, root = archived.first - 1, found.base_root if found is not None else ""
    return Chain(live=live, links=tuple(reversed(links)), problem=problem, first_bad=first_bad)


def _lowest(*seqs: int | None) -> int | None:
    return min((each for each in seqs if each is not None), default=None)


def _link(
    archived: Archived,
    archive: Archive,
    key: JournalVerifyKey,
    *,
    root: str,
    kept: Sequence[str],
    progress: Callable[[str, int], None] | None,
) -> Link:
    """`root` is that of the base of the file after it, empty if that file could not be read."""
    name, found, digest = archived.file, None, archive.sha256(archived.file)
    elsewhere = ""
    if digest != archived.sha256:
        # Files whose names were swapped are all there, and the next one is looked for in the right one.
        elsewhere = next((each for each in archive.names() if archive.sha256(each) == archived.sha256), "")
        digest = archived.sha256 if elsewhere else digest
    if digest is None:
        return Link(archived=archived, problem=f"`{name}` is missing", first_bad=archived.first, found=None)
    try:
        with archive.open(elsewhere or name) as stored:
            tell = None if progress is None else lambda at: progress(name, at)
            found = verify_journal(stored, key, checkpoints=kept, progress=tell)
    except (JournalDamaged, NotFound) as error:
        return Link(archived=archived, problem=f"`{name}`: {error.problem}", first_bad=archived.first, found=None)
    if not found.ok:
        # Of a file whose header cannot be read, verification does not know where it should begin.
        bad = None if found.first_bad is None else max(found.first_bad, archived.first)
        is_own = found.first == archived.first
        return Link(
            archived=archived, problem=f"`{name}`: {found.problem}", first_bad=bad, found=found if is_own else None
        )
    problem, first_bad = "", None
    if (found.first, found.last, found.root) != (archived.first, archived.last, archived.root):
        problem = f"holds records {found.first} to {found.last}: another segment in the place of this one"
        first_bad = archived.first
    elif root and found.root != root:
        problem, first_bad = "does not end with the tree that the next file begins with", archived.first
    elif elsewhere:
        problem = f"is another file: it is there under the name `{elsewhere}`"
    elif not found.is_sealed:
        problem = "is not sealed"
    elif digest != archived.sha256:
        problem = "is not the file that was archived: its SHA-256 is another, though its records are right"
    return Link(
        archived=archived,
        problem=f"`{name}` {problem}" if problem else "",
        first_bad=first_bad,
        # A file of other records says nothing of what comes before this one.
        found=found if (found.first, found.last) == (archived.first, archived.last) else None,
    )
