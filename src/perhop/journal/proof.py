"""Proof that one record is in the journal: a small JSON document, checked with the public key and nothing else.

Spec: RFC 9162 §2.1.3
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perhop.errors import CheckFailed, JournalUnavailable, NotFound, OperatorError
from perhop.journal.archived import Archived, sealed_in
from perhop.journal.checkpoint import Checkpoint, CheckpointInvalid, parse_checkpoint, verify_checkpoint
from perhop.journal.keys import JournalVerifyKey, decode_base64
from perhop.journal.query import Entry, Filter, JournalReader
from perhop.journal.record import Event
from perhop.journal.tree import inclusion_ranges, inclusion_roots, is_included, leaf_hash, subtree_root

FORMAT = "perhop-journal-proof/1"

_ARCHIVED = Filter(event=Event.JOURNAL_ARCHIVED.value)


_LAST_SEQ = 2**63 - 1
"""No file can hold more records, nor be asked for one of a higher number."""


def make_proof(reader: JournalReader, seq: int) -> dict[str, Any]:
    """The proof of this record under the last checkpoint of the file. Does not check the rest of the journal.

    Raises: NotFound, OperatorError, CheckFailed, JournalUnavailable
    """
    return next(make_proofs(reader, [seq]))


def make_proofs(reader: JournalReader, seqs: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The proofs of these records, lowest first, all under one checkpoint: the file's last. Reads each leaf once.

    Raises: NotFound, OperatorError, CheckFailed, JournalUnavailable
    """
    wanted = sorted(set(seqs))
    base, note = reader.base().frontier, reader.last_checkpoint()
    for seq in (wanted[0], wanted[-1]):
        _entry(reader, seq)
    try:
        checkpoint = parse_checkpoint(note or "")
    except CheckpointInvalid as error:
        raise OperatorError("the journal has no checkpoint", advice="run `perhop journal verify`") from error
    if wanted[-1] > checkpoint.size:
        raise OperatorError(f"record {wanted[-1]} is not signed yet", advice="wait a second, and ask again")

    def root_over(start: int, stop: int) -> bytes:
        return subtree_root(base, start, stop, reader.leaves)

    try:
        roots = inclusion_roots((seq - 1 for seq in wanted), checkpoint.size, root_over)
    except ValueError as error:
        raise JournalUnavailable("the journal was cut meanwhile: ask again") from error
    for seq in wanted:
        body = _entry(reader, seq).body
        path = [roots[each] for each in inclusion_ranges(seq - 1, checkpoint.size)]
        if not is_included(leaf_hash(body.encode()), seq - 1, checkpoint.size, path, checkpoint.root):
            raise CheckFailed(
                f"record {seq} does not lead to the root that the last checkpoint signs",
                advice="ask again if the journal was just archived, else run `perhop journal verify`",
            )
        yield {
            "format": FORMAT,
            "seq": seq,
            "record": body,
            "path": [base64.b64encode(each).decode() for each in path],
            "checkpoint": note,
        }


def _entry(reader: JournalReader, seq: int) -> Entry:
    """Raises: NotFound."""
    base = reader.base().frontier
    entry = reader.record(seq) if abs(seq) <= _LAST_SEQ else None
    if entry is not None:
        return entry
    if 0 < seq <= base.size:
        segments = tuple(filter(None, (Archived.of(each.fields) for each in reader.find(_ARCHIVED))))
        raise NotFound(
            f"record {seq} is archived, and this file begins with record {base.size + 1}",
            advice=f"prove it with `--journal` and {sealed_in(segments, seq)}",
        )
    raise NotFound(f"the journal has no record {seq}")


def check_proof(document: Mapping[str, Any], key: JournalVerifyKey) -> Mapping[str, Any]:
    """The record of the document, if the key's journal holds it at this `seq`.

    Raises: CheckFailed
    """
    note = document.get("checkpoint")
    try:
        checkpoint = verify_checkpoint(note if isinstance(note, str) else "", key)
    except CheckpointInvalid as error:
        raise CheckFailed(f"the proof is malformed: {error}") from error
    return check_inclusion(document, checkpoint)


def check_inclusion(document: Mapping[str, Any], checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The record of the document, if its path leads to the root of this checkpoint, whose signature is not looked at.

    Raises: CheckFailed
    """
    if document.get("format") != FORMAT:
        raise CheckFailed(f"this is not a proof in the format `{FORMAT}`")
    seq, body, path = (document.get(name) for name in ("seq", "record", "path"))
    if type(seq) is not int or not isinstance(body, str) or not isinstance(path, list):
        raise CheckFailed("the proof lacks a member, or one has the wrong type")
    try:
        siblings = [decode_base64(each) for each in path]
        fields, leaf = json.loads(body), leaf_hash(body.encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckFailed(f"the proof is malformed: {error}") from error
    if not is_included(leaf, seq - 1, checkpoint.size, siblings, checkpoint.root):
        raise CheckFailed(f"the path does not lead from record {seq} to the signed root")
    if not isinstance(fields, dict) or fields.get("seq") != seq:
        raise CheckFailed(f"the record is not record {seq}")
    return fields
