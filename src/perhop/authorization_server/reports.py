"""Reports of servers: what a server says it saw goes into the journal beside what the gateway recorded, once.

A report is the word of the client that answers for the server, and is recorded as that. What the journal itself can
contradict is not recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from perhop.authorization_server.store import CallRecords
from perhop.core.call import CallKind
from perhop.core.client import Client
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.journal.query import Entry
from perhop.journal.record import Event, Record, ReportFacts
from perhop.journal.report import UNREAD, Report
from perhop.journal.writer import Journal
from perhop.rules.delegation import GATEWAY_PREFIX

_OWN_QUESTIONS = frozenset(
    {"initialize", "notifications/initialized", "server/discover", "tools/list", UNREAD, CallKind.END.value}
)

_log = logging.getLogger("perhop.authorization_server")


class Objection(StrEnum):
    """Why a report is not recorded; sending it again changes nothing."""

    MALFORMED = "malformed"
    NOT_SERVED = "not served"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a batch: so many are new in the journal, so many were there, and these are not recorded."""

    recorded: int
    known: int
    refused: Mapping[str, Objection]


@dataclass(slots=True)
class _Sorted:
    records: list[Record] = field(default_factory=list)
    known: int = 0
    refused: dict[str, Objection] = field(default_factory=dict)


class Reports:
    """Takes reports, one batch at a time: of two that hold the same report, the second finds it in the journal."""

    def __init__(self, *, journal: Journal, calls: CallRecords) -> None:
        self._journal = journal
        self._calls = calls
        self._turn = asyncio.Lock()

    async def take(self, reports: Sequence[Report], *, client: Client, registry: Registry) -> Taken:
        """Record what is new. When this returns, all of it is on disk; when it raises, perhaps some, and no more comes.

        Does not look at the client's token or standing.

        Raises: JournalUnavailable
        """
        async with self._turn:
            ids = sorted({report.call.id for report in reports})
            entries = await asyncio.to_thread(self._calls.of_calls, ids)
            found = _sort(reports, _by_call(entries), client=client, registry=registry)
            await self._journal.append_all(found.records)
        for report_id, objection in found.refused.items():
            _log.warning("report %s of client `%s` is not recorded: %s", report_id, client.id, objection.value)
        return Taken(recorded=len(found.records), known=found.known, refused=found.refused)


def _sort(
    reports: Iterable[Report], entries: Mapping[str, Sequence[Entry]], *, client: Client, registry: Registry
) -> _Sorted:
    """Every report is new, known, or not to be recorded."""
    found, seen = _Sorted(), set[str]()
    for report in reports:
        resource = registry.resource_served_at(report.resource)
        same_call = entries.get(report.call.id, ())
        if resource is None or resource.name not in client.serves:
            found.refused[report.id] = Objection.NOT_SERVED
        elif report.id in seen or any(_is_same(report, client, entry) for entry in same_call):
            found.known += 1
        elif (objection := _objection(report, same_call)) is not None:
            found.refused[report.id] = objection
        else:
            found.records.append(_record(report, resource, client))
        seen.add(report.id)
    return found


def _objection(report: Report, same_call: Iterable[Entry]) -> Objection | None:
    """A server admits what is addressed to it, and a token says what we made it say."""
    inbound = report.inbound
    if report.event is Event.CALL_ADMITTED and (inbound is None or inbound.aud != report.resource):
        return Objection.MALFORMED
    if inbound is None or inbound.jti is None:
        return None
    for entry in same_call:
        made = entry.part("out")
        if made.get("jti") != inbound.jti:
            continue
        claims = {"aud": inbound.aud, "sub": inbound.sub, "scope": inbound.scope}
        if any(value is not None and made.get(name) != value for name, value in claims.items()):
            return Objection.CONTRADICTED
    return None


def _is_same(report: Report, client: Client, entry: Entry) -> bool:
    """True if this entry is the report, recorded before."""
    reported = entry.part("report")
    return reported.get("id") == report.id and reported.get("by") == client.id


def _record(report: Report, resource: Resource, client: Client) -> Record:
    return Record(
        event=report.event,
        reason=report.reason,
        txn=report.txn,
        hop=report.hop,
        inbound=report.inbound,
        call=report.call,
        report=ReportFacts(by=client.id, id=report.id, time=report.time),
        request=report.request,
        owner=resource.owner,
        tenant=resource.tenant,
        resource=resource.name,
        client=report.inbound.client_id if report.inbound is not None else None,
        about={"self_test": resource.name} if _is_own_question(report) else report.about,
    )


def _is_own_question(report: Report) -> bool:
    """True for what the gateway asks a server on nobody's behalf, with a token of its own. It never calls a tool."""
    agent = report.inbound.agent if report.inbound is not None else None
    return agent is not None and agent.startswith(GATEWAY_PREFIX) and report.call.method in _OWN_QUESTIONS


def _by_call(entries: Iterable[Entry]) -> Mapping[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(str(entry.part("call").get("id")), []).append(entry)
    return found
