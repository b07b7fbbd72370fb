"""Verifying a journal: every record against its number, its leaf and every checkpoint, from a file and a public key.

`first_bad` is the lowest `seq` that is known to be bad or missing. If bodies and leaves were both changed, only the
checkpoints speak, and it is the first record of the stretch between two checkpoints that cannot both hold.

A file that begins after archived records goes on from its base: the tree over those before, signed as a checkpoint.
Base hashes and checkpoints are no secret, so a file that is not sealed must hold the signed record of the cut, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from perhop.errors import JournalDamaged
from perhop.journal.archived import Archived, sealed_in
from perhop.journal.as_written import read_as_written
from perhop.journal.checkpoint import CHECKPOINT_RECORDS, Checkpoint, CheckpointInvalid, verify_checkpoint
from perhop.journal.facets import Facets, facets_of, parse_body
from perhop.journal.keys import JournalVerifyKey
from perhop.journal.record import Event
from perhop.journal.store import WHOLE, SignedTree
from perhop.journal.tree import EMPTY_ROOT, Frontier, leaf_hash

PROGRESS_EVERY = 10_000

_ARCHIVED = Event.JOURNAL_ARCHIVED.value
_CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found. `records` are there, from `first` on; `root` (hex) is the tree hash over them and all before.

    `base_root` (hex) is the one over those before. `signed`: checked against a signature up to this record. `problem`
    says in words what is wrong first, and is empty when `ok`. `archived` is what the records say of segments, in the
    order in which they say it; `is_sealed` is true of such a segment.
    """

    ok: bool
    records: int
    root: str
    first_bad: int | None
    problem: str
    signed: int
    first: int
    base_root: str
    is_sealed: bool
    archived: tuple[Archived, ...]

    @property
    def last(self) -> int:
        """The number of the last record, and so the size of the tree."""
        return self.first - 1 + self.records


class StoredRow(NamedTuple):
    """One record as it is stored: its leaf hash, and its facets as they are meant; None where there are none."""

    seq: int
    body: bytes
    leaf: bytes | None
    facets: Facets | None


class StoredJournal(Protocol):
    """A journal's file, as bytes, in one snapshot. Raises JournalDamaged where it cannot be read."""

    def base(self) -> SignedTree:
        """The tree over the records before the file's first, with the note that signs it."""
        ...

    def frontier(self) -> Frontier:
        """The stored tree with which the writer goes on."""
        ...

    def is_sealed(self) -> bool:
        """True for an archived segment, to which nothing is ever added."""
        ...

    def rows(self) -> Iterator[StoredRow]:
        """Every record after the base, in the order of `seq`; what waits to be swept is none of them."""
        ...

    def has_facets(self) -> bool:
        """False for a file of the first version, of which no question can be asked."""
        ...

    def stray_facets(self) -> Sequence[int]:
        """The `seq` of facets that belong to no record; one is enough."""
        ...

    def structure_faults(self) -> Iterator[tuple[int | None, str]]:
        """What is wrong with the indexes of the facets, and what else is in the file: `seq` if known, and words."""
        ...

    def notes(self) -> Sequence[tuple[int, str]]:
        """Every stored checkpoint with the size under which it is stored, smallest first."""
        ...

    def leaf_count(self) -> int:
        """The highest `seq` that has a leaf hash, 0 if there is none."""
        ...


class _Findings:
    """Collects what is wrong; the lowest record counts, and the first problem of it."""

    def __init__(self) -> None:
        self.first_bad: int | None = None
        self.problem = ""

    def bad_record(self, seq: int, problem: str) -> None:
        if self.first_bad is None or seq < self.first_bad:
            self.first_bad, self.problem = seq, problem

    def bad_file(self, problem: str) -> None:
        self.problem = self.problem or problem


def verify_journal(
    journal: StoredJournal,
    key: JournalVerifyKey,
    *,
    checkpoints: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Check the whole journal, and that it goes on from these checkpoints, which were kept elsewhere.

    Does not need, and cannot use, the private key. Records after the last checkpoint (fewer than 64) are checked
    against their stored leaves only.

    Spec: RFC 9162 §2.1
    """
    found = _Findings()
    base, is_based, is_sealed, has_facets = WHOLE, True, False, False
    frontier, new = base.frontier, list[bytes]()
    last, vouched, leaves = 0, 0, 0
    stored: list[Checkpoint] = []
    waiting: list[Checkpoint] = []
    kept: list[Checkpoint] = []
    archived: list[tuple[int, Archived]] = []
    try:
        base, is_sealed = journal.base(), journal.is_sealed()
        is_based = _check_base(base, key, found)
        frontier, last, vouched = base.frontier, base.frontier.size, base.frontier.size
        stored, kept = _checkpoints(journal, key, checkpoints, last, found)
        _check_frontier(journal, stored, found)
        waiting = sorted((each for each in (*stored, *kept) if each.size > last), key=lambda each: each.size)
        has_facets = journal.has_facets()
        for row in journal.rows():
            last += 1
            computed, (seq, facets) = leaf_hash(row.body), _read(row.body)
            _check_row(last, row, seq, facets if has_facets else None, is_leaf=row.leaf == computed, found=found)
            if facets.event == _ARCHIVED and (said := Archived.of(parse_body(row.body))) is not None:
                archived.append((last, said))
            new.append(computed)
            if len(new) == _CHUNK or (waiting and waiting[0].size == last):
                frontier, new = frontier.grown(new), []
            while waiting and waiting[0].size == last:
                vouched = _check_root(waiting.pop(0), frontier.root(), vouched, found)
            if progress is not None and last % PROGRESS_EVERY == 0:
                progress(last)
        leaves = journal.leaf_count()
        if has_facets:
            _check_structure(journal, found)
    except JournalDamaged as error:
        found.bad_record(last + 1, error.problem)
    said_of = tuple(each for _, each in archived)
    _check_kept(kept, base, said_of, last if is_sealed else None, found)
    # Of a sealed segment, a checkpoint over more speaks of other files.
    _check_end(last, max([leaves, *(each.size for each in waiting if not (is_sealed and each in kept))]), found)
    _check_coverage(last, base, stored if is_sealed else [*stored, *kept], is_sealed, found)
    if base.frontier.size > 0 and is_based and not is_sealed:
        _check_cut(base, [each for seq, each in archived if seq <= vouched], found)
    return Verification(
        ok=not found.problem,
        records=last - base.frontier.size,
        root=frontier.grown(new).root().hex(),
        first_bad=found.first_bad,
        problem=found.problem,
        signed=vouched,
        first=base.frontier.size + 1,
        base_root=base.frontier.root().hex(),
        is_sealed=is_sealed,
        archived=said_of,
    )


def _check_base(base: SignedTree, key: JournalVerifyKey, found: _Findings) -> bool:
    """True if the tree that the file rests on is one that was signed; the tree over nothing is everybody's."""
    size = base.frontier.size
    if size == 0:
        if base.note:
            found.bad_file("the file has a base note, and no record before its first")
        return True
    try:
        signed = verify_checkpoint(base.note, key)
    except CheckpointInvalid as error:
        found.bad_record(size + 1, f"the base over {size} records does not verify: {error}")
        return False
    if (signed.size, signed.root) != (size, base.frontier.root()):
        found.bad_record(size + 1, f"the base over {size} records is not the tree that its note signs")
        return False
    return True


def _check_frontier(journal: StoredJournal, checkpoints: Sequence[Checkpoint], found: _Findings) -> None:
    """No record rests on it, but with another one nothing is ever written again: it is stored with each checkpoint."""
    try:
        tree = journal.frontier()
    except JournalDamaged as error:
        found.bad_file(error.problem)  # the records are in another place, and are looked at all the same
        return
    newest = max(checkpoints, key=lambda each: each.size, default=None)
    if newest is not None and (tree.size, tree.root()) != (newest.size, newest.root):
        found.bad_file("the stored tree that the writer goes on with is not the one that the last checkpoint signs")


def _check_cut(base: SignedTree, archived: Sequence[Archived], found: _Findings) -> None:
    """A signed record of the cut tells archived records from records that somebody took out."""
    size, root = base.frontier.size, base.frontier.root().hex()
    if not any((each.last, each.root) == (size, root) for each in archived):
        at = 1 + max((each.last for each in archived if each.last < size), default=0)
        found.bad_record(at, f"records {at} to {size} are gone, and no signed record says that they were archived")


def _checkpoints(
    journal: StoredJournal, key: JournalVerifyKey, given: Sequence[str], first: int, found: _Findings
) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """The checkpoints of the file, from its base on, and those that were given, as far as the key signed them."""
    stored = []
    for size, note in journal.notes():
        if size < first:
            continue  # left of the base: it goes with the records there
        checkpoint = _signed(note, key, f"the journal's checkpoint over {size} records", found)
        if checkpoint is None:
            continue
        if size != checkpoint.size:
            found.bad_file(f"the checkpoint over {checkpoint.size} records is stored as one over {size}")
        stored.append(checkpoint)
    read = (_signed(note, key, "the given checkpoint", found) for note in given)
    return stored, [each for each in read if each is not None]


def _signed(note: str, key: JournalVerifyKey, of: str, found: _Findings) -> Checkpoint | None:
    try:
        checkpoint = verify_checkpoint(note, key)
    except CheckpointInvalid as error:
        found.bad_file(f"{of} does not verify: {error}")
        return None
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        found.bad_file("the checkpoint over no records has a root")
    return checkpoint


def _check_kept(
    kept: Sequence[Checkpoint], base: SignedTree, archived: tuple[Archived, ...], end: int | None, found: _Findings
) -> None:
    """A checkpoint about records that are in another file says nothing of this one, and that is told."""
    size = base.frontier.size
    for each in kept:
        if 0 < each.size < size:
            found.bad_file(
                f"the given checkpoint is over {each.size} records, and this file begins with record {size + 1}: "
                f"hold it against {sealed_in(archived, each.size)}, or verify with `--archive`"
            )
        elif each.size == size > 0 and each.root != base.frontier.root():
            found.bad_file("the given checkpoint is over the archived records, and they are others than those before")
        elif end is not None and each.size > end:
            found.bad_file(
                f"the given checkpoint is over {each.size} records, and this sealed segment ends at record {end}: "
                "it belongs to a later file"
            )


def _check_row(
    expected: int, row: StoredRow, seq: object, facets: Facets | None, *, is_leaf: bool, found: _Findings
) -> None:
    """`seq` and `facets` are what the body says; without facets, the file has none."""
    if found.first_bad is not None:
        return
    if row.seq != expected:
        found.bad_record(min(expected, row.seq), f"record {min(expected, row.seq)} is missing or out of place")
    elif not is_leaf:
        found.bad_record(row.seq, f"record {row.seq} is not what its leaf says")
    elif seq != row.seq:
        found.bad_record(row.seq, f"record {row.seq} holds another number")
    elif facets is not None and row.facets != facets:
        found.bad_record(row.seq, f"the facets of record {row.seq} are not those of its body: questions would miss it")


def _read(body: bytes) -> tuple[object, Facets]:
    """The number that the body holds, and its facets."""
    written = read_as_written(body)
    if written is not None:
        return written
    fields = parse_body(body)
    return fields.get("seq"), facets_of(fields)


def _check_structure(journal: StoredJournal, found: _Findings) -> None:
    """Facets of no record, and indexes that leave out a row, would give other answers than the records do."""
    for seq in journal.stray_facets():
        found.bad_record(seq, f"there are facets of a record {seq}, and no such record")
    for at, words in journal.structure_faults():
        problem = f"questions cannot be trusted: {words}"
        if at is None:
            found.bad_file(problem)
        else:
            found.bad_record(at, problem)


def _check_root(checkpoint: Checkpoint, root: bytes, vouched: int, found: _Findings) -> int:
    """Up to which record a signature vouches, after this checkpoint."""
    if checkpoint.root == root:
        return checkpoint.size
    if found.first_bad is None:
        at = min(vouched + 1, checkpoint.size)
        found.bad_record(at, f"records {at} to {checkpoint.size} are not those that were signed")
    return vouched


def _check_end(last: int, claimed: int, found: _Findings) -> None:
    if last < claimed:
        found.bad_record(last + 1, f"the journal ends at record {last}, but there were {claimed}")


def _check_coverage(
    last: int, base: SignedTree, checkpoints: Sequence[Checkpoint], is_sealed: bool, found: _Findings
) -> None:
    """The writer leaves fewer than 64 records unsigned; more means that checkpoints were taken out.

    A sealed segment was cut at a checkpoint, and ends there.
    """
    if not checkpoints:
        found.bad_file("the journal has no checkpoint that verifies")
        return
    signed = max(base.frontier.size, *(each.size for each in checkpoints))
    if last - signed >= (1 if is_sealed else CHECKPOINT_RECORDS):
        found.bad_record(signed + 1, f"records {signed + 1} to {last} were never signed")
