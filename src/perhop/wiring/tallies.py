"""Counters and histograms that cost a request next to nothing: a step into a dictionary each.

The client library's own look up a child by its labels, take a lock and walk over the buckets, several times a call.
These are read by the same registry and look the same when they are scraped. Not for threads: they belong to whoever
runs the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from perhop.wiring.metric_table import Metric

Labels = tuple[str, ...]


class Tally(Collector):
    """How often something happened, by the labels of its row."""

    def __init__(self, row: Metric) -> None:
        self._row = row
        self._counts: dict[Labels, int] = {} if row.labels else {(): 0}

    def inc(self, *labels: str) -> None:
        """Once more."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """As the registry reads it."""
        family = CounterMetricFamily(self._row.name.removesuffix("_total"), self._row.says, labels=self._row.labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        yield family


class Durations(Collector):
    """How long something took, in seconds, by the labels of its row."""

    def __init__(self, row: Metric) -> None:
        self._row = row
        self._bounds = row.buckets
        self._spread: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not row.labels:
            self._begin(())

    def expect(self, *labels: str) -> None:
        """Show these labels from now on, although nothing was observed yet."""
        self._begin(labels)

    def observe(self, seconds: float, *labels: str) -> None:
        """One more of this length; a bucket holds what is not longer than its bound."""
        if labels not in self._sums:
            self._begin(labels)
        self._spread[labels][bisect_left(self._bounds, seconds)] += 1
        self._sums[labels] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """As the registry reads it: each bucket holds those before it, too."""
        family = HistogramMetricFamily(self._row.name, self._row.says, labels=self._row.labels)
        for labels, spread in self._spread.items():
            buckets, count = [], 0
            for bound, here in zip((*map(str, self._bounds), "+Inf"), spread, strict=True):
                count += here
                buckets.append((bound, count))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family

    def _begin(self, labels: Labels) -> None:
        self._spread[labels] = [0] * (len(self._bounds) + 1)
        self._sums[labels] = 0.0
