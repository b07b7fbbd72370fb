"""Checking a bundle that somebody handed over: nothing in it is believed but what the journal's key signed.

The report's tree and counts are made again from the proved records. What cannot be made again, the words of the report
and its signals, are the word of whoever made the bundle; and a record that was left out together with its count is not
missed here: the journal itself, or `perhop journal verify`, knows of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from perhop.errors import CheckFailed, JsonUnparsable, KeyUnusable, NotFound
from perhop.journal.bundle.contents import (
    CHECKPOINT,
    FILES,
    FORMAT,
    INCIDENT,
    KEY,
    MANIFEST,
    NAMED,
    RADIUS,
    RECORDS,
    TREE,
)
from perhop.journal.bundle.recount import BundledRecords, seqs_in_tree
from perhop.journal.checkpoint import Checkpoint, CheckpointInvalid, verify_checkpoint
from perhop.journal.investigate import trace
from perhop.journal.keys import JournalVerifyKey, parse_vkey
from perhop.journal.proof import check_inclusion
from perhop.journal.query import Entry
from perhop.rules.strict_json import parse_json

LARGEST_RECORDS = 512 * 1024 * 1024
LARGEST_DOCUMENT = 64 * 1024 * 1024
LARGEST_LINE = 4 * 1024 * 1024
LARGEST_SMALL = 64 * 1024
_DEPTH = 64
_KEYS = 1_000_000


class BundleFiles(Protocol):
    """The files of a bundle, untrusted. Every verb raises CheckFailed where a file is not as it should be."""

    def names(self) -> tuple[str, ...]:
        """The names of its files, as they stand, each as often as it stands there."""
        ...

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of one file, in pieces."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleVerdict:
    """What was found. `problem` is empty when `ok`. `key` says where the key came from: `given` or `bundle`."""

    ok: bool
    token: str | None
    made: str | None
    records: int
    checkpoint: int | None
    root: str | None
    key: str
    problem: str

    def as_json(self) -> dict[str, Any]:
        """The object that `perhop journal verify-bundle --json` prints."""
        return asdict(self)


@dataclass(slots=True)
class _Seen:
    """What is known of the bundle so far."""

    token: str | None = None
    made: str | None = None
    records: int = 0
    checkpoint: Checkpoint | None = None


def check_bundle(files: BundleFiles, given: JournalVerifyKey | None) -> BundleVerdict:
    """Check everything that can be checked without the journal; names the first thing that is wrong.

    Without a given key the bundle's own is used: that shows that the bundle holds together, and not whose it is.

    Spec: RFC 9162 §2.1.3.2
    """
    seen = _Seen()
    try:
        _check(files, given, seen)
        problem = ""
    except CheckFailed as error:
        problem = error.problem
    return BundleVerdict(
        ok=not problem,
        token=seen.token,
        made=seen.made,
        records=seen.records,
        checkpoint=seen.checkpoint.size if seen.checkpoint is not None else None,
        root=seen.checkpoint.root.hex() if seen.checkpoint is not None else None,
        key="given" if given is not None else "bundle",
        problem=problem,
    )


def _check(files: BundleFiles, given: JournalVerifyKey | None, seen: _Seen) -> None:
    _check_names(files)
    promised = _check_manifest(files, seen)
    key = _check_key(files, given)
    note = _text(files, CHECKPOINT)
    try:
        seen.checkpoint = verify_checkpoint(note, key)
    except CheckpointInvalid as error:
        raise CheckFailed(f"`{CHECKPOINT}` does not verify: {error}") from error
    records = BundledRecords(_proved(files, note, seen.checkpoint, seen))
    if seen.records != promised:
        raise CheckFailed(f"`{RECORDS}` has {seen.records} records, and `{MANIFEST}` says {promised}")
    _check_report(files, records, seen)


def _check_names(files: BundleFiles) -> None:
    found = files.names()
    for name in found:
        if name not in FILES:
            raise CheckFailed(f"the bundle holds a file `{name[:80]}`, which no bundle has")
        if found.count(name) > 1:
            raise CheckFailed(f"the bundle holds `{name}` {found.count(name)} times")
    for name in FILES:
        if name not in found:
            raise CheckFailed(f"the bundle has no `{name}`")


def _check_manifest(files: BundleFiles, seen: _Seen) -> object:
    """Every file is the one that the manifest names. Returns how many records it promises."""
    manifest = _document(files, MANIFEST)
    if manifest.get("format") != FORMAT:
        raise CheckFailed(f"`{MANIFEST}` is not of the format `{FORMAT}`")
    digests, token, made = manifest.get("files"), manifest.get("token"), manifest.get("made")
    if not isinstance(digests, dict) or set(digests) != set(NAMED):
        raise CheckFailed(f"`{MANIFEST}` does not name the files of a bundle")
    if not isinstance(token, str) or not isinstance(made, str):
        raise CheckFailed(f"`{MANIFEST}` does not say whose bundle it is")
    for name in NAMED:
        digest = hashlib.sha256()
        for chunk in _bounded(files, name, LARGEST_RECORDS if name == RECORDS else LARGEST_DOCUMENT):
            digest.update(chunk)
        if digest.hexdigest() != digests[name]:
            raise CheckFailed(f"`{name}` is not the file that `{MANIFEST}` names")
    seen.token, seen.made = token, made
    return manifest.get("records")


def _check_key(files: BundleFiles, given: JournalVerifyKey | None) -> JournalVerifyKey:
    try:
        enclosed = parse_vkey(_text(files, KEY))
    except KeyUnusable as error:
        raise CheckFailed(f"`{KEY}` in the bundle is not a public key of a journal") from error
    if given is not None and enclosed != given:
        raise CheckFailed(f"`{KEY}` in the bundle is not the key that was given: this is another journal's bundle")
    return enclosed


def _proved(files: BundleFiles, note: str, checkpoint: Checkpoint, seen: _Seen) -> Iterator[Entry]:
    """The records whose proofs hold, in order."""
    last = 0
    for number, line in enumerate(_lines(files, RECORDS), start=1):
        where = f"line {number} of `{RECORDS}`"
        document = _parsed(line, where)
        if document.get("checkpoint") != note:
            raise CheckFailed(f"{where} is proved under another checkpoint than `{CHECKPOINT}`")
        try:
            fields = check_inclusion(document, checkpoint)
        except CheckFailed as error:
            raise CheckFailed(f"{where}: {error.problem}") from error
        seq = document["seq"]
        if seq <= last:
            raise CheckFailed(f"{where}: record {seq} stands there twice, or out of order")
        last = seq
        seen.records += 1
        yield Entry(seq, "", [fields])  # the text is proved, and no longer needed


def _check_report(files: BundleFiles, records: BundledRecords, seen: _Seen) -> None:
    """What can be made from the records is made again, and must be what the report says."""
    incident, tree, radius = (_document(files, name) for name in (INCIDENT, TREE, RADIUS))
    try:
        named = incident["token"]["jti"]
        asked = radius["asked"]["value"]
        signals = {seq for each in incident["signals"] for seq in each["records"]}
        lacking = {*signals, *seqs_in_tree(tree)} - records.seqs
        rests = incident["rests_on"]
        is_covered = type(rests["records"]) is int and type(rests["signed"]) is int
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckFailed("the report lacks a member, or one has the wrong type") from error
    if not seen.token == named == asked:
        raise CheckFailed(f"`{INCIDENT}`, `{RADIUS}` and `{MANIFEST}` speak of different tokens")
    if lacking:
        raise CheckFailed(f"the report rests on record {min(lacking)}, which is not in `{RECORDS}`")
    if incident.get("blast_radius") != radius:
        raise CheckFailed(f"the blast radius of `{INCIDENT}` is not `{RADIUS}`")
    if not is_covered or not _fits(rests, seen.checkpoint):
        raise CheckFailed(f"the report does not rest on the journal of `{CHECKPOINT}`")
    try:
        again = _as_json(trace(records, seen.token or "").as_json())
    except NotFound:
        raise CheckFailed(f"no record of the bundle knows the token `{seen.token}`") from None
    if again != tree:
        raise CheckFailed(f"`{TREE}` is not the tree that the records make")
    tokens = records.descendants(seen.token or "")
    if sorted(_texts(radius.get("tokens"))) != sorted(tokens):
        raise CheckFailed(f"`{RADIUS}` does not name the tokens that came from this one")
    for name, value in _as_json(asdict(records.counted(tokens))).items():
        if radius.get(name) != value:
            raise CheckFailed(f"`{name}` in `{RADIUS}` is not what the records say")


def _fits(rests: Mapping[str, Any], checkpoint: Checkpoint | None) -> bool:
    """The report was made before the checkpoint, or at it; at it, it names the same root."""
    if checkpoint is None or not 0 <= rests["signed"] <= rests["records"] <= checkpoint.size:
        return False
    return rests["signed"] < checkpoint.size or rests.get("root") == checkpoint.root.hex()


def _texts(found: object) -> list[str]:
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _as_json(value: Any) -> Any:
    """The value as it comes back from JSON: lists for tuples."""
    return json.loads(json.dumps(value))


def _text(files: BundleFiles, name: str) -> str:
    content = b"".join(_bounded(files, name, LARGEST_SMALL))
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise CheckFailed(f"`{name}` is not text") from None


def _document(files: BundleFiles, name: str) -> Mapping[str, Any]:
    return _parsed(b"".join(_bounded(files, name, LARGEST_DOCUMENT)), f"`{name}`")


def _bounded(files: BundleFiles, name: str, largest: int) -> Iterator[bytes]:
    size = 0
    for chunk in files.chunks(name):
        size += len(chunk)
        if size > largest:
            raise CheckFailed(f"`{name}` is larger than {largest} bytes")
        yield chunk


def _lines(files: BundleFiles, name: str) -> Iterator[bytes]:
    rest = b""
    for chunk in files.chunks(name):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > LARGEST_LINE:
            raise CheckFailed(f"`{name}` has a line of more than {LARGEST_LINE} bytes")
    if rest:
        raise CheckFailed(f"`{name}` ends within a line")


def _parsed(raw: bytes, where: str) -> Mapping[str, Any]:
    try:
        found = parse_json(raw, max_bytes=LARGEST_DOCUMENT, max_depth=_DEPTH, max_keys=_KEYS)
    except JsonUnparsable as error:
        raise CheckFailed(f"{where} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise CheckFailed(f"{where} is not a JSON object")
    return found
