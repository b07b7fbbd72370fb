"""A tallied histogram shows what the library's own would."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from perhop.wiring import metric_table as table
from perhop.wiring.metrics import Metrics
from perhop.wiring.tallied import Tallied, TalliedHistogram

BUCKETS = (0.001, 0.5, 1.0)
AMOUNTS = (0.0, 0.001, 0.0010001, 0.25, 0.5, 7.5, -1.0)


@pytest.mark.parametrize("labels", [{}, {"at": "gateway"}], ids=["bare", "labelled"])
def test_it_exposes_what_the_library_does(labels: dict[str, str]) -> None:
    """Octet by octet, with observations on and between the bounds, and with other labels beside it."""
    Metrics()  # which leaves out, for the whole process, when a series was made
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallied = Tallied(BUCKETS)
    beside = Histogram("h", "says", tuple(labels), buckets=BUCKETS, registry=None)
    ours.register(TalliedHistogram(beside, tallied, **labels))
    plain = Histogram("h", "says", tuple(labels), buckets=BUCKETS, registry=theirs)
    if labels:
        plain.labels("elsewhere").observe(0.3)
        beside.labels("elsewhere").observe(0.3)
    one = plain.labels(**labels) if labels else plain
    for amount in AMOUNTS:
        one.observe(amount)
        tallied.observe(amount)
    for _ in range(2):  # a scrape changes nothing
        assert generate_latest(ours) == generate_latest(theirs)


def test_what_every_call_is_observed_in_is_there_before_the_first() -> None:
    """Both histograms begin at nought, as the library's do, and the exchange keeps its other label."""
    metrics = Metrics()
    for _ in range(2):
        metrics.decision_duration.observe(0.002)
    metrics.gateway_exchange_duration.observe(2.0)
    value = metrics.registry.get_sample_value
    name = table.EXCHANGE_DURATION.name
    assert value(f"{table.DECISION_DURATION.name}_count") == 2
    assert value(f"{table.DECISION_DURATION.name}_bucket", {"le": "0.002"}) == 2
    assert value(f"{table.DECISION_DURATION.name}_bucket", {"le": "0.001"}) == 0
    assert value(f"{name}_sum", {"at": "gateway"}) == 2.0
    assert value(f"{name}_bucket", {"at": "gateway", "le": "1.0"}) == 0
    assert Metrics().registry.get_sample_value(f"{name}_count", {"at": "gateway"}) == 0
