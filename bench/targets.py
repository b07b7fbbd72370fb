"""The table of targets: what is measured against what, how much it must be, and what is aimed for.

A target that is missed is printed like one that is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bench.measured import Results, Size, number

Figure = Callable[[Results], float | None]


class Reached(StrEnum):
    """What a run says of a target."""

    AIM = "aim reached"
    MUST = "reached"
    NOT = "NOT reached"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row. `must` and `aim` are in `unit`; `at_least` where more is better.

    `figure` reads the value from a run; `only_full` where the quick form measures something smaller.
    """

    what: str
    must: float
    aim: float
    unit: str
    figure: Figure
    at_least: bool = False
    only_full: bool = False

    def value(self, results: Results) -> float | None:
        """What the run measured, or None."""
        return None if self.only_full and results.size is not Size.FULL else self.figure(results)

    def reached(self, results: Results) -> Reached:
        """What the run says of it."""
        value = self.value(results)
        if value is None:
            return Reached.UNKNOWN
        if self._is_within(value, self.aim):
            return Reached.AIM
        return Reached.MUST if self._is_within(value, self.must) else Reached.NOT

    def told(self, value: float | None) -> str:
        """A value of this target as it is written: with more digits where it would read as a bound that it is not."""
        if value is None:
            return "-"
        reads_as_bound = float(number(value).replace(",", "")) in (self.must, self.aim)
        return f"{f'{value:.4g}' if reads_as_bound else number(value)}{self.unit}"

    def bound(self, value: float) -> str:
        """What must be or is aimed for, as it is written."""
        return f"{'>=' if self.at_least else '<='} {value:g}{self.unit}"

    def _is_within(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


def ratio(scenario: str, subject: str, other: str, figure: str) -> Figure:
    """How many times `other`'s figure the subject's is, by the rounds."""
    return lambda results: results.ratio(scenario, subject, other, figure)


def median(scenario: str, subject: str, figure: str) -> Figure:
    """The subject's own figure."""

    def read(results: Results) -> float | None:
        found = results.find(scenario, subject, figure)
        return None if found is None else found.median

    return read


def worst(scenario: str, kind: str, figure: str) -> Figure:
    """The largest median of the subjects of a kind: those that bear its name, alone or before a comma."""

    def read(results: Results) -> float | None:
        found = (each for each in results.measured if (each.scenario, each.figure) == (scenario, figure))
        return max((each.median for each in found if each.subject.partition(",")[0] == kind), default=None)

    return read


WORK, CACHED, SINGLE, MANY = "perhop, work", "perhop, cached", "perhop, single", "perhop, work, 20,000 tokens"
GUARD = "perhop guard, cached"

TARGETS = (
    Target(
        what="CPU of a call, to nginx forwarding without any check",
        must=8,
        aim=4,
        unit="x",
        figure=ratio("gateway", WORK, "nginx", "cpu_us"),
    ),
    Target(
        what="the same where the decision may be kept",
        must=2,
        aim=2,
        unit="x",
        figure=ratio("gateway", CACHED, "nginx", "cpu_us"),
    ),
    Target(
        what="CPU of a call, to Envoy with `jwt_authn`, without its cache",
        must=1.5,
        aim=0.8,
        unit="x",
        figure=ratio("gateway", WORK, "envoy", "cpu_us"),
    ),
    Target(
        what="requests a second, to FastMCP's server with its verifier",
        must=6,
        aim=12,
        unit="x",
        figure=ratio("gateway", WORK, "fastmcp server", "requests_a_second"),
        at_least=True,
    ),
    Target(
        what="latency added at 100 requests a second, half of them",
        must=1.5,
        aim=0.8,
        unit=" ms",
        figure=median("gateway", WORK, "added_p50_ms"),
    ),
    Target(
        what="latency added at 100 requests a second, 99 of 100",
        must=4,
        aim=1.5,
        unit=" ms",
        figure=median("gateway", WORK, "added_p99_ms"),
    ),
    Target(
        what="20,000 different tokens, to one: CPU of a call",
        must=2.5,
        aim=1.8,
        unit="x",
        figure=ratio("gateway", MANY, WORK, "cpu_us"),
    ),
    Target(
        what="a token for every call, to a hop token that is kept: CPU of a call",
        must=2.5,
        aim=1.7,
        unit="x",
        figure=ratio("gateway", SINGLE, WORK, "cpu_us"),
    ),
    Target(
        what="the guard in a server, a token it has seen: CPU of a request",
        must=25,
        aim=10,
        unit=" us",
        figure=median("guard", GUARD, "cpu_us"),
    ),
    Target(
        what="the same, to what the MCP SDK's verifier adds to its own server (25 and 10 us to 112)",
        must=0.22,
        aim=0.09,
        unit="x",
        figure=ratio("guard", GUARD, "mcp SDK TokenVerifier", "cpu_us"),
        only_full=True,
    ),
    Target(
        what="tokens a second of the token endpoint, to Authlib's",
        must=1,
        aim=1.5,
        unit="x",
        figure=ratio(
            "token_endpoint", "perhop, client_credentials", "authlib, client_credentials", "requests_a_second"
        ),
        at_least=True,
    ),
    Target(
        what="1,000 policies over 100 tools, to 10 over one: time of a decision",
        must=1.3,
        aim=1.1,
        unit="x",
        figure=ratio("decisions", "1000 policies", "10 policies", "decision_us"),
    ),
    Target(
        what="an idle stream, 10,000 open: memory",
        must=40,
        aim=15,
        unit=" KB",
        figure=median("growth", "idle streams", "stream_kb"),
        only_full=True,
    ),
    Target(
        what="`perhop trace` in ten million records, the slowest kind",
        must=2,
        aim=0.5,
        unit=" s",
        figure=worst("journal", "trace", "seconds"),
        only_full=True,
    ),
    Target(
        what="`perhop blast-radius` in ten million records, the slowest kind",
        must=2,
        aim=0.5,
        unit=" s",
        figure=worst("journal", "blast-radius", "seconds"),
        only_full=True,
    ),
)
"""All per core, medians of one run, with everything on and the journal durable; calls with one warm token and 1 KB."""
