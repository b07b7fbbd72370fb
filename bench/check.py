"""Whether a run is grossly slower than the recorded one: ratios of the one beside ratios of the other.

Speeds differ between machines and hours; what two subjects of one run are to each other differs less. So only ratios
are compared, and only a loss of half as much again counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.measured import Results

LOSS = 1.5
"""A ratio that is worse than the recorded one by more than this factor is lost."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A subject's figure to another's; `more_is_better` for requests a second and the like."""

    scenario: str
    subject: str
    other: str
    figure: str
    more_is_better: bool = False

    def __str__(self) -> str:
        return f"{self.scenario}: {self.figure} of `{self.subject}` to `{self.other}`"

    def read(self, results: Results) -> float | None:
        """The ratio in this run, or None."""
        return results.ratio(self.scenario, self.subject, self.other, self.figure)


COMPARED = (
    Ratio("gateway", "perhop, work", "nginx", "cpu_us"),
    Ratio("gateway", "perhop, cached", "nginx", "cpu_us"),
    Ratio("gateway", "perhop, work", "envoy", "cpu_us"),
    Ratio("gateway", "perhop, single", "perhop, work", "cpu_us"),
    Ratio("gateway", "perhop, work", "fastmcp server", "requests_a_second", more_is_better=True),
    Ratio(
        "token_endpoint",
        "perhop, client_credentials",
        "authlib, client_credentials",
        "requests_a_second",
        more_is_better=True,
    ),
    Ratio("decisions", "1000 policies", "10 policies", "decision_us"),
)


@dataclass(frozen=True, slots=True)
class Lost:
    """A ratio that is worse than recorded by more than LOSS, or that one of the two runs lacks."""

    ratio: Ratio
    recorded: float | None
    now: float | None

    def __str__(self) -> str:
        if self.recorded is None:
            return f"{self.ratio}: not in the recorded run; record a new one with `make bench-quick`"
        if self.now is None:
            return f"{self.ratio}: not measured by this run"
        return f"{self.ratio}: {self.now:.3g}, recorded {self.recorded:.3g}, allowed is {LOSS:g} times worse"


def lost(now: Results, recorded: Results, compared: Sequence[Ratio] = COMPARED) -> list[Lost]:
    """The ratios that are lost, or missing."""
    found = (Lost(ratio, ratio.read(recorded), ratio.read(now)) for ratio in compared)
    return [each for each in found if _is_lost(each)]


def _is_lost(each: Lost) -> bool:
    if each.recorded is None or each.now is None:
        return True
    worse = each.recorded / each.now if each.ratio.more_is_better else each.now / each.recorded
    return worse > LOSS


def confirmed(
    now: Results,
    recorded: Results,
    again: Callable[[Sequence[str]], Results],
    compared: Sequence[Ratio] = COMPARED,
) -> list[Lost]:
    """The ratios that are lost twice: `again` measures the scenarios of those that are lost once.

    What the recorded run lacks no second measurement brings.
    """
    losses = lost(now, recorded, compared)
    if not any(each.recorded for each in losses):
        return losses
    second = again(scenarios_of(losses))
    return lost(second, recorded, [each.ratio for each in losses])


def scenarios_of(losses: Sequence[Lost]) -> list[str]:
    """The scenarios to measure again before these losses are believed, each once."""
    return list(dict.fromkeys(each.ratio.scenario for each in losses if each.recorded is not None))
