"""Metrics that are states: read from the parts themselves whenever somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from perhop import __version__
from perhop.gateway.gate import Gate
from perhop.gateway.readiness import Verdict
from perhop.gateway.upstream.interface import Condition
from perhop.serving.health import state_of
from perhop.serving.stage import Course, Stage
from perhop.tokens.keys import KeyState
from perhop.wiring import metric_table as table
from perhop.wiring.exports import RunningExport
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check import Figures, Result
from perhop.wiring.traffic import ToolsStanding, Traffic
from perhop.wiring.webhooks import Delivery, Webhooks

Values = Mapping[tuple[str, ...], float]


class Gauges(Collector):
    """How an installation stands when it is scraped."""

    def __init__(
        self,
        plane: Plane,
        traffic: Traffic,
        exports: Sequence[RunningExport],
        webhooks: Webhooks,
        figures: Figures,
        course: Course,
    ) -> None:
        self._plane = plane
        self._figures = figures
        self._traffic = traffic
        self._exports = exports
        self._webhooks = webhooks
        self._course = course

    def collect(self) -> Iterator[Family]:
        """One family for each metric of the table that is no event."""
        plane, journal = self._plane, self._plane.journal.status()
        in_flight, streams = plane.metrics.calls_in_flight(), plane.metrics.open_streams()
        names = [gate.resource.name for gate in self._traffic.gates]
        yield _gauge(table.CALLS_IN_FLIGHT, {(name,): in_flight[name] for name in names})
        yield _gauge(table.OPEN_STREAMS, {(name,): streams[name] for name in names})
        yield _gauge(
            table.REVOCATION_SECONDS, {(place.value,): took for place, took in self._figures.seconds().items()}
        )
        yield _counters(table.REVOCATION_CHECKS, {(each.value,): self._figures.counts[each] for each in Result})
        yield _gauge(table.REVOCATION_CHECKED, {(): self._figures.shown_at or 0})
        yield _counter(table.JOURNAL_RECORDS, journal.size)
        yield _gauge(table.JOURNAL_FILE_RECORDS, {(): journal.size - journal.base})
        yield _gauge(table.JOURNAL_HEALTHY, {(): journal.healthy})
        yield _gauge(table.JOURNAL_UNSIGNED, {(): journal.size - journal.signed})
        yield _gauge(table.UPSTREAM_STATE, _states(self._traffic.gates))
        yield _gauge(table.SELF_TEST, _verdicts(self._traffic.gates))
        yield _gauge(table.QUARANTINED_TOOLS, {(name,): len(tools.quarantined) for name, tools in self._tools()})
        yield _gauge(table.EXPORT_WAITING, {(each.name,): each.waiting for each in self._exports})
        yield _counters(table.EXPORT_FAILURES, {(each.name,): each.failures for each in self._exports})
        told = self._webhooks
        yield _counters(
            table.WEBHOOK_DELIVERIES,
            {(owner, each.value): told.counts[owner, each] for owner in told.status() for each in Delivery},
        )
        yield _gauge(table.KEYS, _keys(plane))
        yield _gauge(table.POLICY_VERSION, {(plane.policy.version,): 1})
        yield _gauge(table.CONFIGURATION_VERSION, {(plane.registry.version,): 1})
        yield _gauge(table.LAST_RELOAD, {(): plane.last_reload_was_good})
        yield _gauge(table.STOPPING, {(): self._course.stage is Stage.STOPPING})
        yield _gauge(table.BUILD, {(__version__,): 1})

    def _tools(self) -> Iterable[tuple[str, ToolsStanding]]:
        return self._traffic.tools().items()


def _states(gates: Iterable[Gate]) -> Values:
    told = {gate.resource.name: state_of(gate.upstream) for gate in gates}
    return {
        (name, condition.value): state.condition is condition
        for name, state in told.items()
        if state is not None
        for condition in Condition
    }


def _verdicts(gates: Iterable[Gate]) -> Values:
    return {
        (gate.resource.name, verdict.value): gate.readiness.verdict is verdict
        for gate in gates
        if gate.resource.upstream is not None and gate.resource.upstream.credential.is_token
        for verdict in Verdict
    }


def _keys(plane: Plane) -> Values:
    counts = Counter(state for _, state in plane.issuer.keyring.entries)
    return {(state.value,): counts[state] for state in KeyState}


def _gauge(row: table.Metric, values: Values) -> Family:
    family = GaugeMetricFamily(row.name, row.says, labels=row.labels)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


def _counters(row: table.Metric, values: Values) -> Family:
    family = CounterMetricFamily(row.name, row.says, labels=row.labels)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


def _counter(row: table.Metric, value: float) -> Family:
    return CounterMetricFamily(row.name, row.says, value=value)
