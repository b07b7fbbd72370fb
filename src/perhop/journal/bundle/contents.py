"""What is in a bundle: the names of its files, the manifest that holds them together, and the records in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perhop.journal.facets import format_microseconds
from perhop.journal.incident import Incident
from perhop.journal.investigate import find_related
from perhop.journal.query import Filter, JournalReader
from perhop.journal.record import Event

FORMAT = "perhop-incident-bundle/1"

README = "README.txt"
INCIDENT = "incident.json"
PAGE = "incident.html"
TREE = "trace.json"
RADIUS = "blast-radius.json"
RECORDS = "records.jsonl"
CHECKPOINT = "checkpoint"
KEY = "journal.vkey"
MANIFEST = "manifest.json"

NAMED = (README, INCIDENT, PAGE, TREE, RADIUS, RECORDS, CHECKPOINT, KEY)
"""What the manifest names: every file but itself."""

FILES = (*NAMED, MANIFEST)


def render_manifest(token: str, digests: Mapping[str, str], *, records: int, made_at: int) -> bytes:
    """The manifest: whose bundle it is, and the hex SHA-256 of every other file."""
    manifest = {
        "format": FORMAT,
        "token": token,
        "made": format_microseconds(made_at * 1_000_000),
        "records": records,
        "files": {name: digests[name] for name in NAMED},
    }
    return render_json(manifest)


def render_json(value: Any) -> bytes:
    """One JSON text, as the bundle has it."""
    return json.dumps(value, indent=1, ensure_ascii=True).encode() + b"\n"


def records_of(reader: JournalReader, found: Incident) -> Sequence[int]:
    """The records that the report rests on, lowest first.

    Those of the token's transaction and of every token in it, with the outcomes of their calls; those of what came from
    the token; revocations that name one of these tokens; and whatever record a signal names.
    """
    _, entries = find_related(reader, found.token.jti)
    seqs = {entry.seq for entry in entries}
    tokens = {found.token.jti, *found.radius.tokens}
    for entry in entries:
        tokens.update(jti for part in ("in", "out") if isinstance(jti := entry.part(part).get("jti"), str))
    for jti in tokens:
        for entry in reader.find(Filter(jti=jti)):
            seqs.add(entry.seq)
            call = entry.part("call").get("id")
            if entry.fields.get("event") == Event.CALL_PERMITTED.value and isinstance(call, str):
                seqs.update(each.seq for each in reader.find(Filter(call_id=call)))
    seqs.update(_revocations(reader, tokens, since=found.token.first_seen))
    seqs.update(seq for signal in found.signals for seq in signal.records)
    return sorted(seqs)


def _revocations(reader: JournalReader, tokens: set[str], *, since: str) -> Iterator[int]:
    for entry in reader.find(Filter(event=Event.REVOCATION.value, since=since)):
        about = entry.part("about")
        ended = about.get("tokens")
        named = [about.get("value"), *(ended if isinstance(ended, list) else ())]
        if any(isinstance(each, str) and each in tokens for each in named):
            yield entry.seq
