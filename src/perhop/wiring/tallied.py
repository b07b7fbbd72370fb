"""A histogram for what is observed on every call: three steps an observation, put together when it is scraped.

What it exposes is what the library's own histogram of this name, help, labels and buckets exposes. For one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from prometheus_client import Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Tallied:
    """What was observed of one set of labels."""

    def __init__(self, buckets: Iterable[float]) -> None:
        self._bounds = (*buckets, float("inf"))
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """Count one observation into the first bucket that holds it."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def add_to(self, metric: Metric, labels: Mapping[str, str]) -> None:
        """The samples of a histogram: each bucket counts what all before it hold, too."""
        total = 0
        for bound, count in zip(self._bounds, self._counts, strict=True):
            total += count
            le = floatToGoString(bound)  # type: ignore[no-untyped-call]
            metric.add_sample(f"{metric.name}_bucket", {**labels, "le": le}, total)
        metric.add_sample(f"{metric.name}_count", dict(labels), total)
        metric.add_sample(f"{metric.name}_sum", dict(labels), self._sum)


class TalliedHistogram(Collector):
    """The library's histogram, of which one set of labels is a tally of ours; `histogram` is in no registry itself."""

    def __init__(self, histogram: Histogram, tally: Tallied, **labels: str) -> None:
        self._histogram = histogram
        self._tally = tally
        self._labels = labels

    def describe(self) -> Iterable[Metric]:
        """Its name, for the registry."""
        return self._histogram.describe()

    def collect(self) -> Iterable[Metric]:
        """The library's samples and ours; where there are no labels, ours alone."""
        for metric in self._histogram.collect():
            if not self._labels:
                metric.samples.clear()
            self._tally.add_to(metric, self._labels)
            yield metric
