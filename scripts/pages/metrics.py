"""docs/reference/metrics.md: every metric, from the table that they are made of."""

from __future__ import annotations

from perhop.wiring.metric_table import NO_RESOURCE, TABLE, Metric

_HEAD = f"""# Metrics

<!-- written by `make docs` from src/perhop/wiring/metric_table.py -->

`http://LISTEN.OPS/metrics`, in Prometheus' text format. What is counted is taken from the records as they go to the
journal, so the two agree; counters begin at 0 with each start. The value of a label is a configured name or a word
from this page: never a subject, a token's id, a tool, an argument or anything else that a peer sent. `resource` is the
resource's name in the configuration, `{NO_RESOURCE}` where there is none. `method` is MCP's, or `GET`, `DELETE`,
`response`. `reason` is one of [the reasons](reasons.md).

Beside these there are `process_*`, the process's own: CPU time, memory, open files, start time.

| Metric | Type | Labels | Says |
| --- | --- | --- | --- |
"""


def _row(metric: Metric) -> str:
    labels = " ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.says} |"


def render() -> str:
    """The page."""
    return _HEAD + "\n".join(map(_row, TABLE)) + "\n"
