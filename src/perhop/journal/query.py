"""Asking the journal: what can be asked, what comes back, and the Protocol of whoever can answer.

The SQL is in `perhop.storage.journal_reader`; a reader never writes, and works while the journal is being written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from perhop.errors import OperatorError
from perhop.journal.canonical import format_time
from perhop.journal.record import KEPT_HERE, Event
from perhop.journal.store import SignedTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is looked for; what is not set does not matter, what is set must all hold.

    `jti` finds the token coming in or going out. `client` is a client id, `resource` a configuration name or a URI.
    `since` (included) and `until` (excluded) are as `parse_time` gives them. `first` and `last` are seqs, included.
    """

    first: int | None = None
    last: int | None = None
    txn: str | None = None
    jti: str | None = None
    event: str | None = None
    reason: str | None = None
    client: str | None = None
    resource: str | None = None
    call_id: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it was found. Nothing here says that it was not changed: see `verify`."""

    seq: int
    body: str
    # Read when somebody asks: an investigation finds the same record by several ways, and looks into it once.
    _read: list[Mapping[str, Any]] = field(default_factory=list, repr=False, compare=False)

    @property
    def fields(self) -> Mapping[str, Any]:
        """What the body says; nothing if it is no JSON object any more."""
        if not self._read:
            self._read.append(_fields_of(self.body))
        return self._read[0]

    def part(self, name: str) -> Mapping[str, Any]:
        """One of the record's objects (`in`, `out`, `call`, ...), empty if it is not there."""
        found = self.fields.get(name)
        return found if isinstance(found, dict) else {}

    def text(self, name: str) -> str | None:
        """One of the record's texts, None if it is not there."""
        found = self.fields.get(name)
        return found if isinstance(found, str) else None


def _fields_of(body: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledToken:
    """A token whose only durable record is the journal's. Times are seconds since the epoch.

    It was got in process by the gateway, and has a permit; or it is the first of its chain, and has a `token.issued`
    that says so (`KEPT_HERE`).
    """

    jti: str
    parent_jti: str | None
    txn: str
    hop: int
    audience: str
    subject: str
    agent: str
    client_id: str
    scope: str
    issued_at: int
    expires_at: int
    tenant: str | None
    parent_audience: str | None = None
    task: str | None = None

    @classmethod
    def of(cls, entry: Entry) -> JournaledToken | None:
        """The token of a record; None if it has another record, or this one does not say what it must."""
        try:
            return cls._of_first(entry) if entry.text("event") == Event.TOKEN_ISSUED else cls._of_permit(entry)
        except (KeyError, ValueError, TypeError):
            return None

    @classmethod
    def _of_permit(cls, permit: Entry) -> JournaledToken:
        inbound, outbound, fields = permit.part("in"), permit.part("out"), permit.fields
        act = outbound.get("act")
        return cls(
            jti=outbound["jti"],
            parent_jti=inbound["jti"],
            txn=fields.get("txn", ""),
            hop=fields.get("hop", 1),
            audience=outbound["aud"],
            subject=outbound.get("sub", inbound["sub"]),
            agent=inbound["agent"],
            client_id=act["sub"] if isinstance(act, dict) else inbound["client_id"],
            scope=outbound["scope"],
            issued_at=_second_of(fields["time"]),
            expires_at=outbound["exp"],
            tenant=permit.text("tenant"),
            parent_audience=inbound.get("aud"),
            task=permit.part("task").get("id"),
        )

    @classmethod
    def _of_first(cls, issued: Entry) -> JournaledToken | None:
        if not is_kept_here(issued):
            return None
        outbound, fields = issued.part("out"), issued.fields
        return cls(
            jti=outbound["jti"],
            parent_jti=None,
            txn=fields["txn"],
            hop=fields["hop"],
            audience=outbound["aud"],
            subject=outbound["sub"],
            agent=fields["client"],
            client_id=fields["client"],
            scope=outbound["scope"],
            issued_at=_second_of(fields["time"]),
            expires_at=outbound["exp"],
            tenant=issued.text("tenant"),
        )


def is_kept_here(issued: Entry) -> bool:
    """True for a `token.issued` that is the token's only durable record."""
    about = issued.part("about")
    return all(about.get(name) == value for name, value in KEPT_HERE.items())


def _second_of(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp())


class RecordFinder(Protocol):
    """Who can look for records."""

    def find(self, wanted: Filter) -> Iterator[Entry]:
        """Matching records in the order of `seq`, one at a time."""
        ...


class JournalReader(RecordFinder, Protocol):
    """Read-only; every verb sees what was committed when it was called. Raises JournalDamaged for a broken file."""

    def size(self) -> int:
        """The highest `seq`, 0 for an empty journal."""
        ...

    def base(self) -> SignedTree:
        """The tree over the archived records, which are not in the file: it begins after them."""
        ...

    def tail(self, count: int) -> Sequence[Entry]:
        """The last records, in the order of `seq`."""
        ...

    def record(self, seq: int) -> Entry | None:
        """One record by its number."""
        ...

    def token_by_jti(self, jti: str) -> JournaledToken | None:
        """The token with this id, if its only durable record is here."""
        ...

    def children_of(self, jti: str) -> Sequence[JournaledToken]:
        """Tokens that the gateway got in process for this one."""
        ...

    def permitted_since(self, since: float) -> Iterator[JournaledToken]:
        """Every token that the gateway got in process since then (seconds since the epoch)."""
        ...

    def issued_since(self, since: float) -> Iterator[JournaledToken]:
        """Every token that was issued since then, and whose only durable record is here."""
        ...

    def unfinished(self, *, since: str | None = None) -> Iterator[Entry]:
        """Permits whose call has no outcome: running, cut off by a crash, or never recorded."""
        ...

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """Leaf hashes of this half-open range of leaf numbers (`seq - 1`)."""
        ...

    def last_checkpoint(self) -> str | None:
        """The newest signed note in the journal."""
        ...


def parse_time(text: str) -> str:
    """A date, or a date and time of RFC 3339, as the journal writes it; without a zone it is UTC.

    Raises: OperatorError
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return format_time(moment.timestamp())
    except (ValueError, OverflowError) as error:  # at either end of the calendar another zone has a year too many
        raise OperatorError(
            f"`{text}` is not a time", advice="write it as 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from error
