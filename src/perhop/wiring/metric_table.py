"""The metrics of an installation: a row for each, from which they are made and documented.

INVARIANT: the value of a label is a configured name or a word of ours. Nothing that a peer sent becomes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

NO_RESOURCE = "-"
"""The `resource` of what concerns none, or none that is configured. No resource can have this name."""


class MetricKind(StrEnum):
    """What Prometheus calls the type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row. `name` is as it is scraped; a histogram is scraped as `name_bucket`, `name_sum` and `name_count`."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    says: str


_OURS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0)
_THEIRS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0)


def _counter(name: str, *labels: str, says: str) -> Metric:
    return Metric(name=name, kind=MetricKind.COUNTER, labels=labels, says=says)


def _gauge(name: str, *labels: str, says: str) -> Metric:
    return Metric(name=name, kind=MetricKind.GAUGE, labels=labels, says=says)


def _histogram(name: str, *labels: str, buckets: tuple[float, ...], says: str) -> Metric:
    return Metric(name=name, kind=MetricKind.HISTOGRAM, labels=labels, buckets=buckets, says=says)


CALLS = _counter(
    "perhop_calls_total",
    "resource",
    "method",
    "outcome",
    says="calls that have ended. `outcome`: `ok`; `tool_error`; `error`, the upstream's JSON-RPC error; `refused`; "
    "`unavailable`, a part that we need is down; `cut`; `cancelled` by the caller; `failed`, an error of our own. "
    "`method` is `POST` where the message was not read, `other` where it is none of MCP's",
)
CALL_DURATION = _histogram(
    "perhop_call_duration_seconds",
    "resource",
    "method",
    buckets=_THEIRS,
    says="from a permitted call's arrival to the end of its answer. Of `GET` and `subscriptions/listen`: how long the "
    "stream was open",
)
CALLS_IN_FLIGHT = _gauge("perhop_calls_in_flight", "resource", says="permitted calls that have not ended")
OPEN_STREAMS = _gauge(
    "perhop_open_streams", "resource", says="open streams without an end of their own: `GET` and `subscriptions/listen`"
)
OVERHEAD = _histogram(
    "perhop_gateway_overhead_seconds",
    buckets=_OURS,
    says="what we take ourselves: from a call's arrival until its permit is on disk and it is forwarded",
)
DECISIONS = _counter(
    "perhop_decisions_total",
    "decision",
    "reason_class",
    "resource",
    says="calls that were decided on. `reason_class` of a `deny` is the first word of its reason: `scope`, `policy`, "
    "...; of a `permit` it is `none`",
)
DECISION_DURATION = _histogram(
    "perhop_decision_duration_seconds", buckets=_OURS, says="what policy takes for one question about a call"
)
EVALUATIONS = _counter(
    "perhop_evaluations_total",
    "decision",
    "reason_class",
    "resource",
    says="questions of servers that enforce the answer themselves (AuthZEN), each evaluation of a list counted; "
    "labels as of `perhop_decisions_total`",
)
SEARCHES = _counter(
    "perhop_searches_total",
    "sought",
    "resource",
    says="searches of such servers, by what was sought: `subject`, `resource` or `action`",
)
REFUSALS = _counter(
    "perhop_refusals_total",
    "reason",
    "resource",
    says="calls and requests for tokens that were not answered as asked, by reason; those that are only counted in "
    "the journal, and those that it could not take, are among them; so are those that servers report",
)
AUDIENCE_REJECTIONS = _counter(
    "perhop_audience_rejections_total",
    "reason",
    "resource",
    says="of these, tokens that are not addressed to the resource where they were shown",
)
TOKENS = _counter(
    "perhop_tokens_issued_total",
    "grant",
    "resource",
    "result",
    says="tokens by `result`: `issued` or `refused`. `grant` is `hop` for a token that the gateway got for an "
    "upstream, `operator` for `perhop token issue`, `self_test` and `revocation_check` for tokens of our "
    "own tests, and `unknown` where a request was refused before that was clear",
)
EXCHANGE_DURATION = _histogram(
    "perhop_token_exchange_duration_seconds",
    "at",
    buckets=_OURS,
    says="an exchange `at` the `gateway`, for an upstream, a kept token included; or at the `token_endpoint`, from "
    "the request until the new token is recorded",
)
REPORTS = _counter(
    "perhop_reports_total",
    "event",
    "resource",
    says="reports of servers that the journal took, by `event`: `call.admitted`, `call.refused`, `journal.suppressed`",
)
REVOCATIONS = _counter(
    "perhop_revocations_total",
    "kind",
    says="revocations, by the kind of what was revoked; `revocation_check` are those of our own check of the bound",
)
REVOCATION_SECONDS = _gauge(
    "perhop_revocation_seconds",
    "place",
    says="from asking for a revocation until it was in force at the `token_endpoint`, the `gateway`, an open `stream` "
    "and a `guard`, as our own check last measured it; a place that it could not measure is not there",
)
REVOCATION_CHECKS = _counter(
    "perhop_revocation_checks_total",
    "result",
    says="checks of the revocation bound: `ok`; `late`, a place took longer than 2 s; `failed`, something was not "
    "shown. A place that cannot be asked from this process is no failure",
)
REVOCATION_CHECKED = _gauge(
    "perhop_revocation_checked_timestamp_seconds",
    says="when the last check that was not `failed` ended, in seconds since 1970; 0 before there was one",
)
JOURNAL_RECORDS = _counter("perhop_journal_records_total", says="records in the journal, all that it has ever taken")
JOURNAL_FILE_RECORDS = _gauge(
    "perhop_journal_file_records", says="records in the journal's own file; the others are archived"
)
JOURNAL_FAILURES = _counter("perhop_journal_failures_total", says="records that could not be written")
JOURNAL_APPEND = _histogram(
    "perhop_journal_append_duration_seconds", buckets=_OURS, says="until a record is on disk, waiting included"
)
JOURNAL_HEALTHY = _gauge("perhop_journal_healthy", says="1 while the journal can be written, else 0")
JOURNAL_UNSIGNED = _gauge("perhop_journal_unsigned_records", says="records that no checkpoint covers yet")
UPSTREAM_STATE = _gauge(
    "perhop_upstream_state",
    "resource",
    "state",
    says="1 for how the way to the upstream stands: `starting`, `up` or `failed`; 0 for the others",
)
SELF_TEST = _gauge(
    "perhop_self_test",
    "resource",
    "verdict",
    says="1 for what the self-test has shown of an upstream that is given tokens: `untested`, `enforces`, `open` or "
    "`inconclusive`; 0 for the others",
)
KEYS = _gauge("perhop_keys", "state", says="signing keys by state: `prepared`, `active`, `retired`, `revoked`")
POLICY_VERSION = _gauge("perhop_policy_version_info", "version", says="1, for the version of the policies in force")
CONFIGURATION_VERSION = _gauge(
    "perhop_configuration_version_info", "version", says="1, for the version of the definitions in force"
)
LAST_RELOAD = _gauge(
    "perhop_configuration_last_reload_success",
    says="0 if the last `perhop apply` or SIGHUP was refused, so that an older configuration is in force, or tokens "
    "that it takes back could not all be revoked, else 1",
)
QUARANTINED_TOOLS = _gauge(
    "perhop_quarantined_tools", "resource", says="tools that are not as the owner of the resource approved them"
)
EXPORT_WAITING = _gauge("perhop_export_waiting_records", "export", says="records that have not been exported yet")
EXPORT_FAILURES = _counter("perhop_export_failures_total", "export", says="attempts of an export that failed")
WEBHOOK_DELIVERIES = _counter(
    "perhop_webhook_deliveries_total",
    "owner",
    "outcome",
    says="attempts to tell an owner of a call that waits for approval: `taken`; `refused`, another answer than 2xx; "
    "`unreachable`, no answer",
)
STOPPING = _gauge("perhop_stopping", says="1 while the server lets calls end before it stops, else 0")
BUILD = _gauge("perhop_build_info", "version", says="1, for the version of Perhop")

TABLE: tuple[Metric, ...] = (
    CALLS,
    CALL_DURATION,
    CALLS_IN_FLIGHT,
    OPEN_STREAMS,
    OVERHEAD,
    DECISIONS,
    DECISION_DURATION,
    EVALUATIONS,
    SEARCHES,
    REFUSALS,
    AUDIENCE_REJECTIONS,
    TOKENS,
    EXCHANGE_DURATION,
    REPORTS,
    REVOCATIONS,
    REVOCATION_SECONDS,
    REVOCATION_CHECKS,
    REVOCATION_CHECKED,
    JOURNAL_RECORDS,
    JOURNAL_FILE_RECORDS,
    JOURNAL_FAILURES,
    JOURNAL_APPEND,
    JOURNAL_HEALTHY,
    JOURNAL_UNSIGNED,
    UPSTREAM_STATE,
    SELF_TEST,
    QUARANTINED_TOOLS,
    EXPORT_WAITING,
    EXPORT_FAILURES,
    WEBHOOK_DELIVERIES,
    KEYS,
    POLICY_VERSION,
    CONFIGURATION_VERSION,
    LAST_RELOAD,
    STOPPING,
    BUILD,
)
