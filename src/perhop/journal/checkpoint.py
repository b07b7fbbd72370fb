"""Checkpoints: what the journal's key says about the tree, as a signed note that other tools can read.

Spec: C2SP signed-note §Format
Spec: C2SP tlog-checkpoint §Note text
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from perhop.journal.keys import JournalKey, JournalVerifyKey, decode_base64, is_key_name
from perhop.journal.tree import HASH_SIZE, Frontier

CHECKPOINT_RECORDS = 64
"""INVARIANT: after every commit, fewer records than this stand after the last checkpoint. `verify` relies on it."""

MAX_NOTE = 64 * 1024
MAX_SIGNATURES = 16

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile("0|[1-9][0-9]{0,18}")


class CheckpointInvalid(ValueError):
    """The text is no checkpoint, or not one that this key signed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree of the first `size` records has this root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(key: JournalKey, frontier: Frontier) -> str:
    """The signed note over this tree."""
    text = Checkpoint(key.name, frontier.size, frontier.root()).text()
    return f"{text}\n{sign_note(key, text)}"


def sign_note(key: JournalKey, text: str) -> str:
    """One signature line over this text."""
    signature = base64.b64encode(key.verify_key.key_id + key.sign(text.encode())).decode()
    return f"\u2014 {key.name} {signature}\n"


def verify_note(note: str, key: JournalVerifyKey) -> str:
    """The text of the note, if this key signed it. Signatures of other keys are passed over.

    Spec: C2SP signed-note §Signatures
    Raises: CheckpointInvalid
    """
    text, signatures = _parse_note(note)
    ours = [each[4:] for name, each in signatures if name == key.name and each[:4] == key.key_id]
    if not ours:
        raise CheckpointInvalid(f"not signed by the key of `{key.name}`")
    if not all(key.verifies(each, text.encode()) for each in ours):
        raise CheckpointInvalid("the signature is not right")
    return text


def verify_checkpoint(note: str, key: JournalVerifyKey) -> Checkpoint:
    """The checkpoint of the note, if this key signed it and it speaks of this key's log.

    Spec: C2SP tlog-checkpoint §Signatures
    Raises: CheckpointInvalid
    """
    checkpoint = _parse_text(verify_note(note, key))
    if checkpoint.origin != key.name:
        raise CheckpointInvalid(f"a checkpoint of `{checkpoint.origin}`, expected `{key.name}`")
    return checkpoint


def parse_checkpoint(note: str) -> Checkpoint:
    """The checkpoint of the note. Does not look at its signatures.

    Raises: CheckpointInvalid
    """
    return _parse_text(_parse_note(note)[0])


def _parse_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE or _CONTROL.search(note):
        raise CheckpointInvalid("not a signed note")
    head, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or not head or lines.pop() != "" or not 0 < len(lines) <= MAX_SIGNATURES:
        raise CheckpointInvalid("not a signed note")
    return f"{head}\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        signature = decode_base64(encoded)
    except ValueError as error:
        raise CheckpointInvalid("a signature line is not base64") from error
    if dash != "\u2014" or not is_key_name(name) or len(signature) < 5:
        raise CheckpointInvalid("a signature line is malformed")
    return name, signature


def _parse_text(text: str) -> Checkpoint:
    # Extension lines may follow the first three; we write none, and refuse what nobody can audit.
    lines = text.split("\n")
    if len(lines) != 4 or not lines[0] or not _SIZE.fullmatch(lines[1]):
        raise CheckpointInvalid("not a checkpoint: origin, size and root are expected")
    try:
        root = decode_base64(lines[2])
    except ValueError as error:
        raise CheckpointInvalid("the root is not base64") from error
    if len(root) != HASH_SIZE:
        raise CheckpointInvalid("the root is not a SHA-256 hash")
    return Checkpoint(lines[0], int(lines[1]), root)
