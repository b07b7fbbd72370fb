"""Results as tables, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.measured import Measured, Results, number
from bench.targets import TARGETS


def measured_table(results: Results) -> str:
    """A block for each scenario, a row for each figure of each subject: the median, and the rounds' range."""
    blocks = []
    for scenario in scenarios(results.measured):
        rows = [
            (each.subject, number(each.median), f"{number(min(each.rounds))} - {number(max(each.rounds))}", each.unit)
            for each in results.measured
            if each.scenario == scenario
        ]
        blocks.append(f"{scenario}\n{table(('subject', 'median', 'rounds', ''), rows)}")
    return "\n".join(blocks)


def targets_table(results: Results) -> str:
    """Every target, reached or not."""
    rows = [
        (each.what, each.told(each.value(results)), each.bound(each.must), each.bound(each.aim), each.reached(results))
        for each in TARGETS
    ]
    return "targets\n" + table(("", "measured", "must", "aim", ""), rows)


def scenarios(measured: Iterable[Measured]) -> list[str]:
    """Their names, each once, in order."""
    return list(dict.fromkeys(each.scenario for each in measured))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns, as wide as they must be."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "".join(f"  {line}".rstrip() + "\n" for line in lines)
