"""Proof that one record is in the journal: a small JSON document, checked with the public key and nothing else.

Spec: RFC 9162 §2.1.3
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perhop.errors import CheckFailed, NotFound, OperatorError
from perhop.journal.checkpoint import Checkpoint, CheckpointInvalid, parse_checkpoint, verify_checkpoint
from perhop.journal.keys import JournalVerifyKey, decode_base64
from perhop.journal.query import JournalReader
from perhop.journal.tree import inclusion_ranges, inclusion_roots, is_included, leaf_hash, root_of

FORMAT = "perhop-journal-proof/1"


def make_proof(reader: JournalReader, seq: int) -> dict[str, Any]:
    """The proof of this record under the journal's last checkpoint. Does not check the journal.

    Raises: NotFound, OperatorError
    """
    return next(make_proofs(reader, [seq]))


def make_proofs(reader: JournalReader, seqs: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The proofs of these records, lowest first, all under one checkpoint: the journal's last. Reads each leaf once.

    Raises: NotFound, OperatorError
    """
    wanted = sorted(set(seqs))
    note = reader.last_checkpoint()
    for seq in (wanted[0], wanted[-1]):
        if reader.record(seq) is None:
            raise NotFound(f"the journal has no record {seq}")
    try:
        size = parse_checkpoint(note or "").size
    except CheckpointInvalid as error:
        raise OperatorError("the journal has no checkpoint", advice="run `perhop journal verify`") from error
    if wanted[-1] > size:
        raise OperatorError(f"record {wanted[-1]} is not signed yet", advice="wait a second, and ask again")
    roots = inclusion_roots((seq - 1 for seq in wanted), size, lambda start, stop: root_of(reader.leaves(start, stop)))
    for seq in wanted:
        entry = reader.record(seq)
        if entry is None:
            raise NotFound(f"the journal has no record {seq}")
        path = [roots[each] for each in inclusion_ranges(seq - 1, size)]
        yield {
            "format": FORMAT,
            "seq": seq,
            "record": entry.body,
            "path": [base64.b64encode(each).decode() for each in path],
            "checkpoint": note,
        }


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
