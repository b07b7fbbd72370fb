"""Runs the suite's `client` command on our client: every scenario of it that there is.

A leg is one call of the suite. Scored scenarios must pass, and so must all others: extensions, and what servers of the
first revision did.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from conformance.suite import SuiteRun, run_words, scored_scenarios
from tests.support.processes import free_port, started

LEGS: Mapping[str, tuple[str, ...]] = {
    "client 2026-07-28": ("--requirements", "2026-07-28"),
    "client 2025-11-25": ("--requirements", "2025-11-25"),
    "client extensions": ("--suite", "extensions"),
    "client backcompat": ("--suite", "backcompat"),
}
_HERE = Path(__file__).resolve().parent


def run_client_legs() -> dict[str, SuiteRun]:
    """Every leg, one after the other: the suite starts all scenarios of a leg at once."""
    with _host() as command:
        return {
            leg: run_words(["client", "--command", command, *words, "--timeout", "60000"], leg.replace(" ", "-"))
            for leg, words in LEGS.items()
        }


def wanted(leg: str, run: SuiteRun) -> tuple[str, ...]:
    """What must have run on a leg: the scored scenarios, and whatever else did."""
    kind, which = LEGS[leg]
    scored = scored_scenarios(which, "client") if kind == "--requirements" else None
    return tuple(sorted({*(scored or ()), *run.outcomes}))


def client_problems(runs: Mapping[str, SuiteRun]) -> Iterator[str]:
    """Scenarios that did not run, did not pass, or passed with a warning."""
    for leg, run in runs.items():
        if not run.outcomes:
            yield f"{leg}: nothing ran; see {run.results / 'output.log'}"
        for scenario in wanted(leg, run):
            outcome = run.outcomes.get(scenario)
            if outcome is None or not outcome.is_passed:
                yield f"{leg} {scenario}: {outcome.told if outcome else 'did not run'}"


@contextmanager
def _host() -> Iterator[str]:
    """A loaded client; the command by which the suite has a scenario run in a child of it."""
    port = free_port()
    host = [sys.executable, "-m", "conformance.client_host", str(port)]
    with started(host, ports=[port], folder=_HERE.parent):
        yield f"{sys.executable} -S {_HERE / 'knock.py'} {port}"
