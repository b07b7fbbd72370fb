"""Counters and histograms of our own show what the client library's would have shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from perhop.wiring.metric_table import Metric, MetricKind
from perhop.wiring.tallies import Durations, Tally

LABELS = ("resource", "outcome")
BOUNDS = (0.001, 0.01, 0.5, 1.0)
CALLS = Metric(name="t_calls_total", kind=MetricKind.COUNTER, labels=LABELS, says="calls")
STARTS = Metric(name="t_starts_total", kind=MetricKind.COUNTER, says="starts")
TOOK = Metric(name="t_took_seconds", kind=MetricKind.HISTOGRAM, labels=LABELS[:1], buckets=BOUNDS, says="took")
WAITED = Metric(name="t_waited_seconds", kind=MetricKind.HISTOGRAM, buckets=BOUNDS, says="waited")

_names = st.sampled_from(("calendar", "rooms", 'a "name"\\ with\nthings'))
_times = st.one_of(st.sampled_from(BOUNDS), st.floats(min_value=0, max_value=10))


def _lines(registry: CollectorRegistry) -> list[str]:
    """What is scraped, but for when a series began, which nobody here shows."""
    return sorted(line for line in generate_latest(registry).decode().splitlines() if "_created" not in line)


@given(
    calls=st.lists(st.tuples(_names, _names)),
    starts=st.integers(min_value=0, max_value=3),
    took=st.lists(st.tuples(_times, _names)),
    waited=st.lists(_times),
)
def test_what_is_scraped_is_what_the_library_would_show(
    calls: list[tuple[str, str]], starts: int, took: list[tuple[float, str]], waited: list[float]
) -> None:
    """The same counts, buckets and sums under the same names, before anything happened and after."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    made = Tally(CALLS), Tally(STARTS), Durations(TOOK), Durations(WAITED)
    for each in made:
        ours.register(each)
    tally, plain, durations, alone = made
    counter = Counter(CALLS.name, CALLS.says, LABELS, registry=theirs)
    started = Counter(STARTS.name, STARTS.says, registry=theirs)
    histogram = Histogram(TOOK.name, TOOK.says, TOOK.labels, buckets=BOUNDS, registry=theirs)
    whole = Histogram(WAITED.name, WAITED.says, buckets=BOUNDS, registry=theirs)
    assert _lines(ours) == _lines(theirs)
    for labels in calls:
        tally.inc(*labels)
        counter.labels(*labels).inc()
    for _ in range(starts):
        plain.inc()
        started.inc()
    adding = durations.adding("rooms")
    for place, (seconds, name) in enumerate(took):
        if name == "rooms":
            adding(seconds)
        else:
            durations.observe(seconds, name)
        if place % 3 == 2:
            durations.gather()
        histogram.labels(name).observe(seconds)
    for seconds in waited:
        alone.observe(seconds)
        whole.observe(seconds)
    assert _lines(ours) == _lines(theirs)
