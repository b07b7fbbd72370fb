"""Both ends of a call: what the gateway sent, held against what the servers report. Pure assembly over a reader.

A call joins by (`jti` of the token that the server got, `call.id`). What only the server saw came to it past the
gateway; what only the gateway saw was answered by something that is not the server's guard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol

from perhop.core.registry import Registry
from perhop.journal.facets import format_microseconds
from perhop.journal.query import Entry, JournalReader
from perhop.journal.record import Event

SETTLED_AFTER = 60_000_000
"""Microseconds in which a report may be on its way."""

MAX_LISTED = 10_000
"""Calls that are listed of each sort; there is never one that is left out without a word."""

_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """A resource whose server reports: so many calls that it admitted, and when the last one was recorded."""

    resource: str
    admitted: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAgain:
    """A call that a server admitted more often than the gateway sent it."""

    resource: str | None
    jti: str
    call_id: str
    count: int


class BothEndsReader(JournalReader, Protocol):
    """A JournalReader that joins permits and reports. Times are in microseconds; `until` is excluded."""

    def reporting(self, *, since: int, until: int) -> Sequence[Reporting]:
        """The resources whose servers reported calls."""
        ...

    def only_arrived(self, *, since: int, until: int) -> Iterator[Entry]:
        """Reports of admitted calls that no permit sent."""
        ...

    def only_sent(self, resources: Sequence[str], *, since: int, until: int) -> Iterator[Entry]:
        """Permits of these resources, with a token for the server, that the server does not report."""
        ...

    def seen_again(self, *, since: int, until: int) -> Sequence[SeenAgain]:
        """Calls that were reported as admitted more than once."""
        ...

    def of_calls(self, call_ids: Sequence[str]) -> Sequence[Entry]:
        """Every record of these calls."""
        ...


class Fate(StrEnum):
    """What became of a call that only the gateway knows: `answered` is what calls for a question."""

    ANSWERED = "answered"
    NOT_DELIVERED = "not delivered"
    NOT_YET_REPORTED = "not yet reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneEnd:
    """A call that one side knows. `address` and `reported_by` are of the server's side, `fate` of the gateway's."""

    seq: int
    time: str | None
    resource: str | None
    jti: str | None
    call_id: str | None
    agent: str | None
    subject: str | None
    method: str | None
    name: str | None
    address: str | None = None
    reported_by: str | None = None
    fate: Fate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One resource in numbers. `direct`: its server stands behind no gateway, so that there is one end only.

    `own`: questions of the gateway itself. `last_report` is a time as in the journal.
    """

    resource: str
    admitted: int
    direct: int
    own: int
    only_server: int
    only_gateway: int
    last_report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BothEnds:
    """The answer. `silent` are resources behind a gateway of which no server reported anything in the time."""

    since: str
    until: str
    resources: tuple[Side, ...]
    silent: tuple[str, ...]
    only_server: tuple[OneEnd, ...]
    only_gateway: tuple[OneEnd, ...]
    seen_again: tuple[SeenAgain, ...]
    truncated: bool

    @property
    def ok(self) -> bool:
        """False if a call needs an explanation. A silent server explains nothing, and accuses nobody."""
        answered = any(each.fate is Fate.ANSWERED for each in self.only_gateway)
        return not (self.only_server or self.seen_again or answered or self.truncated)

    def as_json(self) -> dict[str, Any]:
        """The object that `perhop journal reconcile --json` prints."""
        return {**asdict(self), "ok": self.ok}


def reconcile(reader: BothEndsReader, registry: Registry, *, since: int, until: int) -> BothEnds:
    """Hold the gateway's permits against the servers' reports, of this time. Does not look whether either is genuine:
    that is `verify_journal`."""
    reporting = {each.resource: each for each in reader.reporting(since=since, until=until)}
    arrived: list[Entry] = []
    direct, own = Counter[str](), Counter[str]()
    for entry in reader.only_arrived(since=since, until=until):
        resource = entry.text("resource") or ""
        if _is_direct(resource, registry):
            direct[resource] += 1
        elif "self_test" in entry.part("about"):
            own[resource] += 1
        elif len(arrived) <= MAX_LISTED:
            arrived.append(entry)
    sent = list(islice(reader.only_sent(sorted(reporting), since=since, until=until), MAX_LISTED + 1))
    again = reader.seen_again(since=since, until=until)
    only_server = tuple(map(_arrived, arrived[:MAX_LISTED]))
    only_gateway = tuple(_with_fates(reader, sent[:MAX_LISTED], reporting, until=until))
    return BothEnds(
        since=format_microseconds(since),
        until=format_microseconds(until),
        resources=tuple(
            _side(each, direct, own, only_server, only_gateway)
            for each in sorted(reporting.values(), key=lambda each: each.resource)
        ),
        silent=tuple(
            name
            for name, resource in registry.resources.items()
            if resource.upstream is not None and resource.upstream.credential.is_token and name not in reporting
        ),
        only_server=only_server,
        only_gateway=only_gateway,
        seen_again=tuple(again[:MAX_LISTED]),
        truncated=max(len(arrived), len(sent), len(again)) > MAX_LISTED,
    )


def _is_direct(resource: str, registry: Registry) -> bool:
    known = registry.resources.get(resource)
    return known is not None and known.upstream is None


def _arrived(entry: Entry) -> OneEnd:
    return OneEnd(
        jti=entry.part("in").get("jti"),
        address=entry.part("request").get("ip"),
        reported_by=entry.part("report").get("by"),
        **_call(entry),
    )


def _with_fates(
    reader: BothEndsReader, permits: Sequence[Entry], reporting: Mapping[str, Reporting], *, until: int
) -> Iterator[OneEnd]:
    for start in range(0, len(permits), _PAGE):
        page = permits[start : start + _PAGE]
        ids = [str(permit.part("call").get("id")) for permit in page]
        of_calls = reader.of_calls(ids)
        ends = {each.part("call").get("id"): each for each in of_calls if _is(each, Event.CALL_ENDED)}
        for permit in page:
            end = ends.get(permit.part("call").get("id"))
            settled = min(reporting[permit.text("resource") or ""].last, until - SETTLED_AFTER)
            yield OneEnd(jti=permit.part("out").get("jti"), fate=_fate(permit, end, settled=settled), **_call(permit))


def _fate(permit: Entry, end: Entry | None, *, settled: int) -> Fate:
    """An end without an error of ours is an answer, and something gave it."""
    error = end.part("result").get("error") if end is not None else None
    is_answered = end is not None and not (isinstance(error, str) and "." in error) and error != "cancelled"
    if not is_answered:
        return Fate.NOT_DELIVERED
    return Fate.NOT_YET_REPORTED if (permit.text("time") or "") > format_microseconds(settled) else Fate.ANSWERED


def _side(
    reporting: Reporting,
    direct: Mapping[str, int],
    own: Mapping[str, int],
    only_server: Iterable[OneEnd],
    only_gateway: Iterable[OneEnd],
) -> Side:
    name = reporting.resource
    return Side(
        resource=name,
        admitted=reporting.admitted,
        direct=direct.get(name, 0),
        own=own.get(name, 0),
        only_server=sum(each.resource == name for each in only_server),
        only_gateway=sum(each.resource == name and each.fate is Fate.ANSWERED for each in only_gateway),
        last_report=format_microseconds(reporting.last),
    )


def _call(entry: Entry) -> dict[str, Any]:
    inbound, call = entry.part("in"), entry.part("call")
    return {
        "seq": entry.seq,
        "time": entry.text("time"),
        "resource": entry.text("resource"),
        "call_id": call.get("id"),
        "agent": inbound.get("agent"),
        "subject": inbound.get("sub"),
        "method": call.get("method"),
        "name": call.get("name"),
    }


def _is(entry: Entry, event: Event) -> bool:
    return entry.fields.get("event") == event.value
