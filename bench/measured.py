"""What a run of the benchmarks came to: figures of subjects that took turns, and what they are to each other.

A figure is worth something beside another of the same run: ratios are taken round by round, then their median.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Size(StrEnum):
    """How much is measured: `quick` in under three minutes for all scenarios together, `full` in under thirty."""

    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One figure of one subject, a value for each round.

    `figure` is the name of what was measured, `cpu_us` say; `unit` is how it is written. `setup` says in one line what
    the subject is and what is switched on, for the page.
    """

    scenario: str
    subject: str
    figure: str
    unit: str
    rounds: tuple[float, ...]
    setup: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that one run measured, and where."""

    size: Size
    machine: dict[str, str]
    measured: tuple[Measured, ...] = field(default_factory=tuple)

    def find(self, scenario: str, subject: str, figure: str) -> Measured | None:
        """The figure, if this run has it."""
        wanted = (scenario, subject, figure)
        return next((each for each in self.measured if (each.scenario, each.subject, each.figure) == wanted), None)

    def ratio(self, scenario: str, subject: str, other: str, figure: str) -> float | None:
        """How many times `other`'s figure the subject's is: the median of the ratios of the rounds that both have.

        None without both.
        """
        ours, theirs = self.find(scenario, subject, figure), self.find(scenario, other, figure)
        if ours is None or theirs is None:
            return None
        pairs = list(zip(ours.rounds, theirs.rounds, strict=False))
        return statistics.median(a / b for a, b in pairs) if pairs and all(b for _, b in pairs) else None

    def with_more(self, more: Iterable[Measured]) -> Results:
        """These and more."""
        return Results(self.size, self.machine, (*self.measured, *more))

    def text(self) -> str:
        """As JSON."""
        body = {"size": self.size, "machine": self.machine, "measured": [asdict(each) for each in self.measured]}
        return json.dumps(body, indent=1) + "\n"

    def write(self, file: Path) -> None:
        """As a file of JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.text(), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Results:
        """What `write` wrote."""
        body: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        measured = tuple(Measured(**{**each, "rounds": tuple(each["rounds"])}) for each in body["measured"])
        return cls(Size(body["size"]), body["machine"], measured)


def in_rounds(scenario: str, subject: str, setup: str, rounds: Sequence[dict[str, float]]) -> list[Measured]:
    """A subject's figures: the first round names all that there are; units follow from the names (see UNITS)."""
    return [
        Measured(
            scenario=scenario,
            subject=subject,
            figure=figure,
            unit=UNITS[figure],
            rounds=tuple(each[figure] for each in rounds if figure in each),
            setup=setup,
        )
        for figure in (rounds[0] if rounds else {})
    ]


def number(value: float) -> str:
    """Three digits that mean something, with commas in large ones."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2f}"


UNITS = {
    "cpu_us": "us of CPU a request",
    "whole_us": "us of CPU a request, the server included",
    "requests_a_second": "requests a second",
    "added_p50_ms": "ms added, half of the requests",
    "added_p99_ms": "ms added, 99 of 100 requests",
    "decision_us": "us a decision",
    "first_decision_us": "us for the first decision about a tool",
    "records_a_second": "records a second",
    "ack_p50_ms": "ms until a record is on disk, half of them",
    "ack_p99_ms": "ms until a record is on disk, 99 of 100",
    "seconds": "s",
    "resident_mb": "MB resident",
    "stream_kb": "KB a stream",
    "token_kb": "KB a token",
    "idle_cpu_ms": "ms of CPU a second with nothing to do",
    "start_cpu_seconds": "s of CPU until ready",
}
