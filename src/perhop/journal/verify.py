"""Verifying a journal: every record against its number, its leaf and every checkpoint, from a file and a public key.

`first_bad` is the lowest `seq` that is known to be bad or missing. If bodies and leaves were both changed, only the
checkpoints speak, and it is the first record of the stretch between two checkpoints that cannot both hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from perhop.errors import JournalDamaged
from perhop.journal.as_written import read_as_written
from perhop.journal.checkpoint import CHECKPOINT_RECORDS, Checkpoint, CheckpointInvalid, verify_checkpoint
from perhop.journal.facets import Facets, facets_of, parse_body
from perhop.journal.keys import JournalVerifyKey
from perhop.journal.tree import EMPTY_ROOT, Frontier, leaf_hash

PROGRESS_EVERY = 10_000

_CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found. `root` is the tree hash (hex) over the records that are there; `signed`: checked against
    a signature up to this record. `problem` says in words what is wrong first, and is empty when `ok`."""

    ok: bool
    records: int
    root: str
    first_bad: int | None
    problem: str
    signed: int


class StoredRow(NamedTuple):
    """One record as it is stored: its leaf hash, and its facets as they are meant; None where there are none."""

    seq: int
    body: bytes
    leaf: bytes | None
    facets: Facets | None


class StoredJournal(Protocol):
    """A journal's file, as bytes, in one snapshot. Raises JournalDamaged where it cannot be read."""

    def rows(self) -> Iterator[StoredRow]:
        """Every record, in the order of `seq`."""
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
    frontier, new = Frontier(), list[bytes]()
    records, vouched = 0, 0
    signed: list[Checkpoint] = []
    try:
        signed = _checkpoints(journal, key, checkpoints, found)
        waiting = [each for each in signed if each.size > 0]
        has_facets = journal.has_facets()
        for row in journal.rows():
            records += 1
            computed = leaf_hash(row.body)
            _check_row(records, row, is_leaf=row.leaf == computed, has_facets=has_facets, found=found)
            new.append(computed)
            if len(new) == _CHUNK or (waiting and waiting[0].size == records):
                frontier, new = frontier.grown(new), []
            while waiting and waiting[0].size == records:
                vouched = _check_root(waiting.pop(0), frontier, vouched, found)
            if progress is not None and records % PROGRESS_EVERY == 0:
                progress(records)
        claimed = max([journal.leaf_count(), *(each.size for each in waiting)])
        if records < claimed:
            found.bad_record(records + 1, f"the journal ends at record {records}, but there were {claimed}")
        if has_facets:
            _check_structure(journal, found)
    except JournalDamaged as error:
        found.bad_record(records + 1, error.problem)
    _check_coverage(records, signed, found)
    return Verification(
        ok=not found.problem,
        records=records,
        root=frontier.grown(new).root().hex(),
        first_bad=found.first_bad,
        problem=found.problem,
        signed=vouched,
    )


def _checkpoints(
    journal: StoredJournal, key: JournalVerifyKey, kept: Sequence[str], found: _Findings
) -> list[Checkpoint]:
    """Every checkpoint that the key signed, smallest first; the others are findings."""
    signed = []
    stored: list[tuple[int | None, str]] = [*journal.notes(), *((None, note) for note in kept)]
    for size, note in stored:
        try:
            checkpoint = verify_checkpoint(note, key)
        except CheckpointInvalid as error:
            where = "the given checkpoint" if size is None else f"the journal's checkpoint over {size} records"
            found.bad_file(f"{where} does not verify: {error}")
            continue
        if size is not None and size != checkpoint.size:
            found.bad_file(f"the checkpoint over {checkpoint.size} records is stored as one over {size}")
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            found.bad_file("the checkpoint over no records has a root")
        signed.append(checkpoint)
    if not signed:
        found.bad_file("the journal has no checkpoint that verifies")
    return sorted(signed, key=lambda each: each.size)


def _check_row(expected: int, row: StoredRow, *, is_leaf: bool, has_facets: bool, found: _Findings) -> None:
    if found.first_bad is not None:
        return
    seq, facets = _read(row.body)
    if row.seq != expected:
        found.bad_record(min(expected, row.seq), f"record {min(expected, row.seq)} is missing or out of place")
    elif not is_leaf:
        found.bad_record(row.seq, f"record {row.seq} is not what its leaf says")
    elif seq != row.seq:
        found.bad_record(row.seq, f"record {row.seq} holds another number")
    elif has_facets and row.facets != facets:
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


def _check_root(checkpoint: Checkpoint, frontier: Frontier, vouched: int, found: _Findings) -> int:
    """Up to which record a signature vouches, after this checkpoint."""
    if checkpoint.root == frontier.root():
        return checkpoint.size
    if found.first_bad is None:
        at = min(vouched + 1, checkpoint.size)
        found.bad_record(at, f"records {at} to {checkpoint.size} are not those that were signed")
    return vouched


def _check_coverage(records: int, signed: Sequence[Checkpoint], found: _Findings) -> None:
    """The writer leaves fewer than 64 records unsigned; more means that checkpoints were taken out."""
    last = max((each.size for each in signed), default=0)
    if signed and records - last >= CHECKPOINT_RECORDS:
        found.bad_record(last + 1, f"records {last + 1} to {records} were never signed")
