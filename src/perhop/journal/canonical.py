"""A record as text: canonical JSON, one spelling for one record. A field that is None is not written.

The text is the leaf of the tree, so it never changes: new fields may be added, none renamed.

Spec: RFC 8785 §3
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, get_args

from perhop.journal.facets import Facets, facets_of
from perhop.journal.record import (
    CallFacts,
    DecisionFacts,
    Inbound,
    Outbound,
    Record,
    ReportFacts,
    RequestFacts,
    ResultFacts,
    TaskFacts,
)
from perhop.rules.canonical_json import canonical_json

# For texts, integers and objects with ASCII names this is the RFC 8785 form, several times faster.
_QUICK = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))

_Part = Inbound | Outbound | CallFacts | DecisionFacts | TaskFacts | ReportFacts | RequestFacts | ResultFacts

_MEMBERS = {part: attrgetter(*part.__slots__) for part in get_args(_Part)}
"""All members of a part at once: this is on the way of every record."""


def format_time(seconds: float) -> str:
    """RFC 3339, UTC, microseconds: always 27 characters, so that text order is time order."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that lacks only its number: the text before `seq`, and the text after it.

    Everything that can fail has been done, so the writer's transaction cannot fail for one bad record. `facets` are
    those that would be read from the body again.
    """

    head: str
    tail: str
    facets: Facets

    def body(self, seq: int) -> str:
        """The canonical JSON with this number."""
        return f'{self.head},"seq":{seq},{self.tail}'


def draft(record: Record, *, time: float) -> Draft:
    """Write the record down. INVARIANT: `event` sorts before `seq`, `time` after it, so neither part is empty."""
    fields = {name: value for name, value in _fields(record, time) if value is not None}
    head = _written({name: value for name, value in fields.items() if name < "seq"})
    tail = _written({name: value for name, value in fields.items() if name > "seq"})
    return Draft(head[:-1], tail[1:], facets_of(fields))


def _written(fields: Mapping[str, Any]) -> str:
    # Only these may hold what the quick way spells differently: floats, and names that are not ASCII.
    if "about" not in fields and "arguments" not in fields.get("call", ()):
        text = _QUICK.encode(fields)
        if text.isascii() or text.encode("utf-8", "replace").decode() == text:
            return text
    return canonical_json(_clean(fields)).decode()


def _fields(record: Record, time: float) -> list[tuple[str, Any]]:
    return [
        ("time", format_time(time)),
        ("event", record.event.value),
        ("reason", record.reason),
        ("txn", record.txn),
        ("hop", record.hop),
        ("parent_jti", record.parent_jti),
        ("in", _part(record.inbound)),
        ("out", _part(record.outbound)),
        ("call", _part(record.call)),
        ("decision", _part(record.decision)),
        ("task", _part(record.task)),
        ("report", _part(record.report)),
        ("request", _part(record.request)),
        ("result", _part(record.result)),
        ("owner", record.owner),
        ("tenant", record.tenant),
        ("resource", record.resource),
        ("client", record.client),
        ("detail", record.detail),
        ("about", record.about),
    ]


def _part(part: _Part | None) -> dict[str, Any] | None:
    """The members that are set; None for a part that says nothing."""
    if part is None:
        return None
    members = zip(part.__slots__, _MEMBERS[type(part)](part), strict=True)
    return {name: value for name, value in members if value is not None} or None


def _clean(value: Any) -> Any:
    """Peers' text as JSON can hold it: half a surrogate pair becomes a question mark, and the record is written."""
    match value:
        case str() if not value.isascii():
            return value.encode("utf-8", "replace").decode()
        case tuple() | list():
            return [_clean(each) for each in value]
        case Mapping():
            return {_clean(name): _clean(each) for name, each in value.items()}
        case _:
            return value
