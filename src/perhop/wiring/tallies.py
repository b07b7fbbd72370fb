"""Counters and histograms that cost a request next to nothing: a step into a dictionary or a list each.

The client library's own look up a child by its labels, take a lock and walk over the buckets, several times a call.
These are read by the same registry and look the same when they are scraped. Not for threads: they belong to whoever
runs the event loop.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import reduce
from operator import add

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from perhop.wiring.metric_table import Metric

Labels = tuple[str, ...]


class Tally(Collector):
    """How often something happened, by the labels of its row."""

    def __init__(self, row: Metric) -> None:
        self._row = row
        self.counts: defaultdict[Labels, int] = defaultdict(int, {} if row.labels else {(): 0})
        """By labels. Who counts with every call adds one here."""

    def inc(self, *labels: str) -> None:
        """Once more."""
        self.counts[labels] += 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """As the registry reads it."""
        family = CounterMetricFamily(self._row.name.removesuffix("_total"), self._row.says, labels=self._row.labels)
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        yield family


class Durations(Collector):
    """How long something took, in seconds, by the labels of its row.

    What `adding` has taken is put into its bucket when somebody reads, or when `gather` says so. It takes memory until
    then, so whoever adds with every call says so now and then.
    """

    def __init__(self, row: Metric) -> None:
        self._row = row
        self._bounds = row.buckets
        self._fresh: dict[Labels, list[float]] = {}
        self._spread: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not row.labels:
            self._begin(())

    def expect(self, *labels: str) -> None:
        """Show these labels from now on, although nothing was observed yet."""
        self._begin(labels)

    def adding(self, *labels: str) -> Callable[[float], None]:
        """What adds one of a length in seconds, always under these labels: they show from its first one on."""
        return self._fresh.setdefault(labels, []).append

    def observe(self, seconds: float, *labels: str) -> None:
        """One more of this length; a bucket holds what is not longer than its bound."""
        self.adding(*labels)(seconds)

    @property
    def ungathered(self) -> int:
        """How many wait to be put into buckets."""
        return sum(map(len, self._fresh.values()))

    def gather(self) -> None:
        """Put everything into its bucket."""
        for labels, fresh in self._fresh.items():
            if not fresh:
                continue
            if labels not in self._sums:
                self._begin(labels)
            # One by one, in their order: a sum of floats depends on it.
            self._sums[labels] = reduce(add, fresh, self._sums[labels])
            fresh.sort()
            spread, before = self._spread[labels], 0
            for place, bound in enumerate(self._bounds):
                until = bisect_right(fresh, bound)
                spread[place] += until - before
                before = until
            spread[-1] += len(fresh) - before
            fresh.clear()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """As the registry reads it: each bucket holds those before it, too."""
        family = HistogramMetricFamily(self._row.name, self._row.says, labels=self._row.labels)
        self.gather()
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
