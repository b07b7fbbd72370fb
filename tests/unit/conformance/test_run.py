"""What counts as a loss when the suite runs through the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import run
from conformance.suite import Outcome, SuiteRun


def _suite_run(**outcomes: Outcome) -> SuiteRun:
    return SuiteRun(0, dict(outcomes), Path())


PASSED = Outcome(2, 0, ())


@pytest.fixture(autouse=True)
def _one_scored_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "scored_scenarios", lambda _: ("ping",))


@pytest.mark.parametrize(
    ("through", "is_lost"),
    [
        (_suite_run(ping=PASSED), False),
        (_suite_run(ping=Outcome(3, 0, ())), False),
        (_suite_run(ping=Outcome(1, 0, ())), True),
        (_suite_run(ping=Outcome(2, 1, ("x: y",))), True),
        (_suite_run(ping=Outcome(0, 0, ())), True),
        (_suite_run(), True),
    ],
)
def test_a_scored_scenario_is_lost_unless_it_passes_as_before(through: SuiteRun, is_lost: bool) -> None:
    """It is lost when it fails, did not run, or passed fewer checks than on the bare server."""
    assert bool(list(run.losses("2026-07-28", _suite_run(ping=PASSED), through))) is is_lost


def test_an_unscored_scenario_is_never_lost() -> None:
    """What the revision does not require is shown, and does not decide."""
    bare = _suite_run(ping=PASSED, other=PASSED)
    assert list(run.losses("2026-07-28", bare, _suite_run(ping=PASSED, other=Outcome(0, 5, ())))) == []


def test_a_failing_bare_server_is_a_problem() -> None:
    """There is nothing to compare with when the bare server fails a scored scenario."""
    assert len(list(run.failures("2026-07-28", _suite_run(ping=Outcome(1, 1, ("x",)))))) == 1
