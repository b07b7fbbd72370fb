"""The metrics of an open installation, taken from the journal's records as they are appended.

So no step of a request counts anything, and none can forget to. What is no event but a state is read when it is asked
for: see `perhop.serving.gauges`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from perhop import errors
from perhop.authorization_server import revocation_canary
from perhop.authorization_server.revocation import RevokedObject
from perhop.core.call import CallKind
from perhop.core.client import GrantType
from perhop.gateway.door import HTTP_METHODS
from perhop.gateway.lists import TOOL_ERROR
from perhop.gateway.record import CANCELLED
from perhop.gateway.streams import CUT
from perhop.gateway.trail import INTERNAL
from perhop.journal.record import Event, Record, ResultFacts
from perhop.journal.witness import Offered
from perhop.rules.mcp_methods import NOTIFICATIONS, REQUESTS, STANDING_STREAM
from perhop.wiring import metric_table as table
from perhop.wiring.metric_table import NO_RESOURCE
from perhop.wiring.tallies import Durations, Tally

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

MAX_REMEMBERED = 65_536
"""Hop tokens that are told apart: more than are kept for a further call at any time. Twice as many may be."""

GATHERED_EVERY = 1_000
"""Records between two times that durations are put into their buckets."""

_METHODS = frozenset({*REQUESTS, *NOTIFICATIONS, *HTTP_METHODS, CallKind.RESPONSE.value})
_STANDING = frozenset({CallKind.STREAM.value, STANDING_STREAM})
_ENDS = {TOOL_ERROR: "tool_error", CUT: "cut", CANCELLED: "cancelled", INTERNAL: "failed"}
_PARTS = frozenset({"journal", "upstream"})
_DECIDING = frozenset({"scope", "policy", "task", "approval", "tool", "limit"})

_arrived: ContextVar[float | None] = ContextVar("perhop_arrived", default=None)


def noting_arrival(app: AsgiApp) -> AsgiApp:
    """The same application; what is recorded for a request knows when the request came in."""

    def noting(asgi_scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        # Never reset: every request is answered by a task of its own, which has a context of its own.
        _arrived.set(time.perf_counter())
        return app(asgi_scope, receive, send)

    return noting


class OpenCall(NamedTuple):
    """A permitted call that has not ended. `is_standing`: its answer is a stream without an end of its own."""

    resource: str
    jti: str | None
    is_standing: bool


class Metrics:
    """The witness of one journal; `registry` holds what it has counted, and the process's own metrics."""

    def __init__(self, *, remembered: int = MAX_REMEMBERED) -> None:
        self._remembered = remembered
        self.registry = CollectorRegistry()
        self.registry.register(_Before(self._take_ends))
        ProcessCollector(registry=self.registry)
        self._calls = self._counter(table.CALLS)
        self._call_duration = self._histogram(table.CALL_DURATION)
        self._overhead = self._histogram(table.OVERHEAD)
        self._decisions = self._counter(table.DECISIONS)
        self.decision_duration = self._histogram(table.DECISION_DURATION)
        self._evaluations = self._counter(table.EVALUATIONS)
        self._searches = self._counter(table.SEARCHES)
        self._refusals = self._counter(table.REFUSALS)
        self._audience_rejections = self._counter(table.AUDIENCE_REJECTIONS)
        self._tokens = self._counter(table.TOKENS)
        self.exchange_duration = self._histogram(table.EXCHANGE_DURATION)
        self.exchange_duration.expect("gateway")
        self._reports = self._counter(table.REPORTS)
        self._revocations = self._counter(table.REVOCATIONS)
        self._failures = self._counter(table.JOURNAL_FAILURES)
        self._append_duration = self._histogram(table.JOURNAL_APPEND)
        self._add_append = self._append_duration.adding()
        self._add_overhead = self._overhead.adding()
        self._add_call: dict[tuple[str, str], Callable[[float], None]] = {}
        self._ungathered = 0
        # The later ones, and those before them: a token that is used again is among the later ones once more.
        self._hop_tokens: dict[str, None] = {}
        self._earlier_hop_tokens: dict[str, None] = {}
        # The permits of calls that have not ended, and the ends of calls that are not yet on disk: by the call's id.
        self._in_flight: dict[str, Record] = {}
        self._ends: dict[str, Record] = {}

    # --- what the journal tells --------------------------------------------------------------------------------------

    def offered(self, record: Record) -> Offered:
        """A record is on its way. A call whose outcome it is, is over now: see `_take_ends`."""
        if record.event is Event.CALL_ENDED:
            self._ends[_call_id(record)] = record
        return Offered(record, time.perf_counter(), _arrived.get())

    def told(self, offered: Sequence[Offered], *, is_written: bool) -> None:
        """A yes counts when it is on disk; a no, and the end of a call, in any case.

        All of one commit in one go: whatever is done for many records in a row costs each of them less.
        """
        now = time.perf_counter()
        for record, at, arrived in offered:
            if is_written:
                self._add_append(now - at)
            else:
                self._failures.inc()
            event, took = record.event, None if arrived is None else now - arrived
            if event is Event.CALL_ENDED:
                if self._ends.pop(_call_id(record), None) is not None:  # otherwise somebody has looked, and it counted
                    self._take_end(record)
            elif event is Event.CALL_PERMITTED and is_written and record.report is None:
                self._take_permit(record, took)
            else:
                self._take(record, is_written=is_written, took=took)
        self._ungathered += len(offered)
        if self._ungathered >= GATHERED_EVERY:
            self._ungathered = 0
            self._gather()

    def counted(self, record: Record) -> None:
        """A refusal that the journal only counts is one here."""
        self._take(record, is_written=False, took=None)

    def _take(self, record: Record, *, is_written: bool, took: float | None) -> None:
        if record.report is not None:
            self._take_report(record, is_written=is_written)
            return
        match record.event:
            case Event.CALL_REFUSED | Event.SESSION_REFUSED:
                self._take_refused_call(record)
            case Event.TOKEN_ISSUED if is_written:
                self._take_token(record, took)
            case Event.TOKEN_REFUSED:
                self._tokens.inc(_grant(record), _resource(record), "refused")
                self._refuse(record.reason, record)
            case Event.ACCESS_EVALUATED if is_written:
                self._take_evaluation(record)
            case Event.ACCESS_SEARCHED if is_written:
                self._searches.inc(str((record.about or {}).get("sought")), _resource(record))
            case Event.ACCESS_REFUSED:
                self._refuse(record.reason, record)
            case Event.REVOCATION if is_written:
                self._revocations.inc(_revoked(record))
            case _:
                pass

    def _take_report(self, record: Record, *, is_written: bool) -> None:
        """What a server saw is no call of ours: of its refusals the reasons count, but not those of our own tests."""
        if is_written:
            self._reports.inc(record.event.value, _resource(record))
        if "self_test" not in (record.about or {}):
            self._refuse(record.reason, record)

    def _take_permit(self, record: Record, took: float | None) -> None:
        resource = record.resource or NO_RESOURCE
        self._decisions.counts["permit", "none", resource] += 1
        if took is not None:
            self._add_overhead(took)
        hop_token = record.outbound
        if hop_token is not None and hop_token.jti not in self._hop_tokens and self._is_new(hop_token.jti):
            self._tokens.inc("hop", resource, "issued")
        if record.call is not None:
            self._in_flight[record.call.id] = record

    def _take_end(self, record: Record) -> None:
        result, call, resource = record.result or ResultFacts(), record.call, record.resource or NO_RESOURCE
        method = call.method if call is not None and call.method in _METHODS else "other"
        error = result.error
        self._calls.counts[resource, method, _outcome(result)] += 1
        if result.duration_ms is not None:
            add = self._add_call.get((resource, method))
            if add is None:
                add = self._add_call[resource, method] = self._call_duration.adding(resource, method)
            add(result.duration_ms / 1000)
        if error is not None and error in _REASONS:
            self._refuse(error, record)
        self._in_flight.pop(_call_id(record), None)

    def _take_refused_call(self, record: Record) -> None:
        resource = _resource(record)
        self._calls.inc(resource, _method(record), _outcome(ResultFacts(error=record.reason or INTERNAL)))
        self._refuse(record.reason, record)
        reason_class = _class_of(record.reason)
        if reason_class in _DECIDING:
            self._decisions.inc("deny", reason_class, resource)

    def _take_token(self, record: Record, took: float | None) -> None:
        grant = _grant(record)
        self._tokens.inc(grant, _resource(record), "issued")
        if grant == _label_of(GrantType.TOKEN_EXCHANGE) and took is not None:
            self.exchange_duration.observe(took, "token_endpoint")

    def _take_evaluation(self, record: Record) -> None:
        """A decision that somebody else acts on is no call, and a no of that kind no refusal of ours."""
        decision = "permit" if record.reason is None else "deny"
        self._evaluations.inc(decision, _class_of(record.reason) or "none", _resource(record))

    def _refuse(self, reason: str | None, record: Record) -> None:
        if reason not in _REASONS:
            return
        self._refusals.inc(reason, _resource(record))
        if _class_of(reason) == "audience":
            self._audience_rejections.inc(reason, _resource(record))

    def _is_new(self, jti: str) -> bool:
        """True for the first permit that names this hop token: it may serve the caller's further calls."""
        is_new = jti not in self._earlier_hop_tokens
        if len(self._hop_tokens) >= self._remembered:
            self._earlier_hop_tokens, self._hop_tokens = self._hop_tokens, {}
        self._hop_tokens[jti] = None
        return is_new

    def _take_ends(self) -> None:
        """Before anybody looks: calls that are over count as ended, although their ends are not yet on disk.

        Of one whose permit is still on its way (the caller has gone), the permit is told first.
        """
        for call_id in [each for each in self._ends if each in self._in_flight]:
            self._take_end(self._ends.pop(call_id))

    def _gather(self) -> None:
        """What was added to lists, goes into buckets."""
        for durations in (self._call_duration, self._overhead, self.decision_duration, self.exchange_duration):
            durations.gather()
        self._append_duration.gather()

    # --- for whoever shows them --------------------------------------------------------------------------------------

    def calls_in_flight(self) -> Counter[str]:
        """Permitted calls that have not ended, by resource."""
        return Counter(call.resource for call in self.open_calls())

    def open_streams(self) -> Counter[str]:
        """Those of them whose answer is a stream without an end of its own."""
        return Counter(call.resource for call in self.open_calls() if call.is_standing)

    def open_calls(self) -> Sequence[OpenCall]:
        """Permitted calls that have not ended, each with the token that it came with."""
        self._take_ends()
        return tuple(
            OpenCall(
                _resource(permit),
                permit.inbound.jti if permit.inbound is not None else None,
                permit.call is not None and permit.call.method in _STANDING,
            )
            for permit in self._in_flight.values()
        )

    def _counter(self, row: table.Metric) -> Tally:
        tally = Tally(row)
        self.registry.register(tally)
        return tally

    def _histogram(self, row: table.Metric) -> Durations:
        durations = Durations(row)
        self.registry.register(durations)
        return durations


class _Before(Collector):
    """Has no metrics, and does something before the registry reads those that were registered later."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def collect(self) -> Iterator[Metric]:
        self._act()
        return iter(())


def _resource(record: Record) -> str:
    return record.resource or NO_RESOURCE


def _call_id(record: Record) -> str:
    return record.call.id if record.call is not None else ""


def _method(record: Record) -> str:
    """The MCP method by our own table; what a peer calls a method is none."""
    method = record.call.method if record.call is not None else ""
    return method if method in _METHODS else "other"


def _grant(record: Record) -> str:
    about = record.about or {}
    if "self_test" in about:
        return "self_test"
    if about.get("by") in ("operator", revocation_canary.BY):
        return str(about["by"])
    return _label_of(GrantType(about["grant"])) if "grant" in about else "unknown"


def _revoked(record: Record) -> str:
    """The kind of what was revoked; what we revoke to see how long it takes is nobody's loss, and a kind of its own."""
    about = record.about or {}
    return revocation_canary.BY if about["by"] == revocation_canary.BY else RevokedObject(about["kind"]).value


def _label_of(grant: GrantType) -> str:
    return grant.name.lower()


def _outcome(result: ResultFacts) -> str:
    if result.error in _ENDS:
        return _ENDS[result.error]
    if result.error in _REASONS:
        return "unavailable" if _class_of(result.error) in _PARTS else "refused"
    is_answered = result.error is None and (result.status is None or result.status < 400)
    return "ok" if is_answered else "error"


def _class_of(reason: str | None) -> str:
    return (reason or "").partition(".")[0]


def _reasons(root: type[errors.PerhopError]) -> Iterator[str]:
    for leaf in root.__subclasses__():
        reason = getattr(leaf, "reason", None)
        if isinstance(reason, str):
            yield reason
        yield from _reasons(leaf)


_REASONS = frozenset(_reasons(errors.PerhopError))
