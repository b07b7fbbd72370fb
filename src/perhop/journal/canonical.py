"""A record as text: canonical JSON, one spelling for one record. A field that is None is not written.

The text is the leaf of the tree, so it never changes: new fields may be added, none renamed.

There are three ways to the same text. `strictly` says what the text is. The quick one, of `quick_text`, joins what is
written of each part, once for a part. And of records that are alike, as those of one token's calls of one tool, what
they share is written once (`alike`). What one way does not take, the one before it does.

Spec: RFC 8785 §3
"""

from __future__ import annotations

from typing import Any, NamedTuple

from perhop.journal.alike import draft_alike
from perhop.journal.facets import Facets, facets_of
from perhop.journal.moment import format_time as format_time
from perhop.journal.moment import moment_of
from perhop.journal.quick_text import clean, find_facets, is_sound, members_of, write_head, write_tail
from perhop.journal.record import Record
from perhop.rules.canonical_json import canonical_json

_as_tuple = tuple.__new__  # as `Draft(...)`, without the function that Python writes for it


class Draft(NamedTuple):
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
    """Write the record down. INVARIANT: `event` sorts before `seq`, `time` after it, so neither part is empty.

    Raises: ParamsMalformed
    """
    text, microseconds = moment_of(time)
    if record.alike is not None and (drafted := draft_alike(record, record.alike, text, microseconds)) is not None:
        return _as_tuple(Draft, drafted)
    head, tail = write_head(record), write_tail(record, text)
    if is_sound(head) and is_sound(tail):
        return Draft(head, tail, find_facets(record, microseconds))
    return strictly(record, time=time)


def strictly(record: Record, *, time: float) -> Draft:
    """Write the record down by the rules of canonical JSON, member by member.

    Raises: ParamsMalformed
    """
    fields = {name: value for name, value in _fields(record, time) if value is not None}
    head = canonical_json(clean({name: value for name, value in fields.items() if name < "seq"})).decode()
    tail = canonical_json(clean({name: value for name, value in fields.items() if name > "seq"})).decode()
    return Draft(head[:-1], tail[1:], facets_of(fields))


def _fields(record: Record, time: float) -> list[tuple[str, Any]]:
    return [
        ("time", format_time(time)),
        ("event", record.event.value),
        ("reason", record.reason),
        ("txn", record.txn),
        ("hop", record.hop),
        ("parent_jti", record.parent_jti),
        ("in", members_of(record.inbound)),
        ("out", members_of(record.outbound)),
        ("call", members_of(record.call)),
        ("decision", members_of(record.decision)),
        ("task", members_of(record.task)),
        ("report", members_of(record.report)),
        ("request", members_of(record.request)),
        ("result", members_of(record.result)),
        ("owner", record.owner),
        ("tenant", record.tenant),
        ("resource", record.resource),
        ("client", record.client),
        ("detail", record.detail),
        ("about", record.about),
    ]
