"""Proof that one record is in the journal: a small JSON document, checked with the public key and nothing else.

Spec: RFC 9162 §2.1.3
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from perhop.errors import CheckFailed, JournalUnavailable, NotFound, OperatorError
from perhop.journal.archived import Archived, sealed_in
from perhop.journal.checkpoint import CheckpointInvalid, parse_checkpoint, verify_checkpoint
from perhop.journal.keys import JournalVerifyKey, decode_base64
from perhop.journal.query import Filter, JournalReader
from perhop.journal.record import Event
from perhop.journal.tree import inclusion_ranges, is_included, leaf_hash, subtree_root

FORMAT = "perhop-journal-proof/1"

_ARCHIVED = Filter(event=Event.JOURNAL_ARCHIVED.value)


def make_proof(reader: JournalReader, seq: int) -> dict[str, Any]:
    """The proof of this record under the last checkpoint of the file. Does not check the rest of the journal.

    Raises: NotFound, OperatorError, CheckFailed, JournalUnavailable
    """
    entry, base = reader.record(seq), reader.base().frontier
    note = reader.last_checkpoint()
    if entry is None and 0 < seq <= base.size:
        segments = tuple(filter(None, (Archived.of(each.fields) for each in reader.find(_ARCHIVED))))
        raise NotFound(
            f"record {seq} is archived, and this file begins with record {base.size + 1}",
            advice=f"prove it with `--journal` and {sealed_in(segments, seq)}",
        )
    if entry is None:
        raise NotFound(f"the journal has no record {seq}")
    try:
        checkpoint = parse_checkpoint(note or "")
    except CheckpointInvalid as error:
        raise OperatorError("the journal has no checkpoint", advice="run `perhop journal verify`") from error
    if seq > checkpoint.size:
        raise OperatorError(f"record {seq} is not signed yet", advice="wait a second, and ask again")
    ranges = inclusion_ranges(seq - 1, checkpoint.size)
    try:
        path = [subtree_root(base, start, stop, reader.leaves) for start, stop in ranges]
    except ValueError as error:
        raise JournalUnavailable("the journal was cut meanwhile: ask again") from error
    if not is_included(leaf_hash(entry.body.encode()), seq - 1, checkpoint.size, path, checkpoint.root):
        problem = f"record {seq} does not lead to the root that the last checkpoint signs"
        raise CheckFailed(
            problem, advice="ask again if the journal was just archived, else run `perhop journal verify`"
        )
    return {
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
    if document.get("format") != FORMAT:
        raise CheckFailed(f"this is not a proof in the format `{FORMAT}`")
    seq, body, note, path = (document.get(name) for name in ("seq", "record", "checkpoint", "path"))
    if type(seq) is not int or not isinstance(body, str) or not isinstance(note, str) or not isinstance(path, list):
        raise CheckFailed("the proof lacks a member, or one has the wrong type")
    try:
        checkpoint = verify_checkpoint(note, key)
        siblings = [decode_base64(each) for each in path]
        fields, leaf = json.loads(body), leaf_hash(body.encode())
    except (CheckpointInvalid, ValueError, TypeError, RecursionError) as error:
        raise CheckFailed(f"the proof is malformed: {error}") from error
    if not is_included(leaf, seq - 1, checkpoint.size, siblings, checkpoint.root):
        raise CheckFailed(f"the path does not lead from record {seq} to the signed root")
    if not isinstance(fields, dict) or fields.get("seq") != seq:
        raise CheckFailed(f"the record is not record {seq}")
    return fields
