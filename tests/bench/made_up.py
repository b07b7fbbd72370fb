"""Results that nobody measured, for tests of what is made of results."""

from __future__ import annotations

from bench.measured import Measured, Results, Size


def results(size: Size = Size.FULL, **subjects: tuple[float, ...]) -> Results:
    """A gateway's CPU figures, subject -> rounds; an underscore in a name stands for `, `."""
    return Results(size, {"CPU": "made up"}, tuple(figure(name.replace("_", ", "), *r) for name, r in subjects.items()))


def figure(subject: str, *rounds: float, scenario: str = "gateway", name: str = "cpu_us") -> Measured:
    """One figure."""
    return Measured(scenario=scenario, subject=subject, figure=name, unit="us", rounds=rounds, setup="made up")
