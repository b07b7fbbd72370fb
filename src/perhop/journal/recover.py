"""Going on after a stop: what stands at the end of the journal must hold together before anything is added. Pure."""

from __future__ import annotations

from perhop.errors import JournalDamaged
from perhop.journal.checkpoint import Checkpoint, CheckpointInvalid, verify_checkpoint
from perhop.journal.keys import JournalVerifyKey
from perhop.journal.store import Tail
from perhop.journal.tree import Frontier, leaf_hash

_ADVICE = "run `perhop journal verify`; keep this file as evidence, and put back a journal that verifies"


def resume(tail: Tail, key: JournalVerifyKey) -> Frontier:
    """The frontier of the whole journal: the signed tree, and the records that came after it.

    Looks at the last records only: `perhop journal verify` looks at all of them.

    Raises: JournalDamaged
    """
    signed = _checked(tail.signed.note, key, of="last checkpoint")
    frontier, base = tail.signed.frontier, tail.base.frontier
    if base.size > 0:
        archived = _checked(tail.base.note, key, of="base note")
        if (archived.size, archived.root) != (base.size, base.root()) or base.size > signed.size:
            raise JournalDamaged("the tree that the journal goes on from is not one that was signed", advice=_ADVICE)
    if tail.first is not None and tail.first != base.size + 1:
        raise JournalDamaged(f"record {base.size + 1} is missing from the journal", advice=_ADVICE)
    if (signed.size, signed.root) != (frontier.size, frontier.root()):
        raise JournalDamaged("the journal's stored tree is not the one that its last checkpoint signs", advice=_ADVICE)
    if tail.size < signed.size:
        raise JournalDamaged(
            f"the journal ends at record {tail.size}, its last checkpoint at {signed.size}", advice=_ADVICE
        )
    new = []
    first = tail.rows[0][0] if tail.rows else tail.size + 1
    for seq, (stored, body, leaf) in enumerate(tail.rows, start=first):
        if stored != seq or leaf_hash(body) != leaf:
            raise JournalDamaged(f"record {seq} of the journal was changed or is missing", advice=_ADVICE)
        if seq > signed.size:
            new.append(leaf)
    if signed.size + len(new) != tail.size:
        raise JournalDamaged(f"a record after {signed.size} is missing from the journal", advice=_ADVICE)
    grown = frontier.grown(new)
    if tail.published is not None:
        _check_published(_checked(tail.published, key, of="published checkpoint"), grown)
    return grown


def _checked(note: str, key: JournalVerifyKey, *, of: str) -> Checkpoint:
    try:
        return verify_checkpoint(note, key)
    except CheckpointInvalid as error:
        raise JournalDamaged(f"the journal's {of} does not verify: {error}", advice=_ADVICE) from error


def _check_published(published: Checkpoint, grown: Frontier) -> None:
    """A journal that was put back to an earlier state would sign a second history; it must be noticed."""
    if published.size > grown.size:
        raise JournalDamaged(
            f"the journal ends at record {grown.size}, but a checkpoint over {published.size} was published",
            advice=f"{_ADVICE}; after restoring a backup on purpose, move the file `journal.checkpoint` away",
        )
    if published.size == grown.size and published.root != grown.root():
        raise JournalDamaged("the journal is not the one of its published checkpoint", advice=_ADVICE)
