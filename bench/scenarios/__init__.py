"""Scenarios: each a module with `measure`, and how long it may take. They run in this order."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from bench.measured import Measured, Size


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario: its module's name, and the seconds it should stay under in each form.

    Nothing ends a scenario that takes longer; it is told.
    """

    name: str
    quick_seconds: float
    full_seconds: float

    def budget(self, size: Size) -> float:
        """The seconds of this form."""
        return self.quick_seconds if size is Size.QUICK else self.full_seconds

    def measure(self, size: Size, tell: Callable[[str], None]) -> list[Measured]:
        """Measure it. Modules are loaded when they are needed: each has its own demands on the machine."""
        module = importlib.import_module(f"bench.scenarios.{self.name}")
        measured: list[Measured] = module.measure(size, tell)
        return measured


SCENARIOS = (
    Scenario("gateway", 68, 750),
    Scenario("guard", 22, 120),
    Scenario("token_endpoint", 25, 100),
    Scenario("decisions", 15, 50),
    Scenario("journal", 18, 600),
    Scenario("growth", 32, 180),
)
