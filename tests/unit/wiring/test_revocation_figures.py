"""What the check of the revocation bound has found, as figures: results, counts, and what is told of each place."""

from __future__ import annotations

import pytest

from perhop.rules.revocation import BOUND_SECONDS
from perhop.wiring.revocation_check import Failed, Figures, Measured, NotMeasured, Place, Result, Round
from perhop.wiring.revocation_check.figures import Outcome

BEGAN = 1_800_000_000.0


def _round(guard: Outcome = Measured(0.1), problem: str = "", ended_at: float = BEGAN + 1) -> Round:
    well = {place: Measured(0.01) for place in Place}
    return Round(ended_at=ended_at, outcomes={**well, Place.GUARD: guard}, problem=problem)


def _figures(*rounds: Round) -> Figures:
    figures = Figures(every=300, began_at=BEGAN)
    for each in rounds:
        figures.note(each)
    return figures


@pytest.mark.parametrize(
    ("found", "result", "is_whole"),
    [
        (_round(), Result.OK, True),
        (_round(Measured(float(BOUND_SECONDS))), Result.OK, True),
        (_round(Measured(BOUND_SECONDS + 0.001)), Result.LATE, True),
        (_round(NotMeasured("not from here")), Result.OK, False),
        (_round(Failed("still taken")), Result.FAILED, False),
        (_round(problem="not recorded"), Result.FAILED, False),
        (Round(ended_at=BEGAN), Result.FAILED, False),
    ],
)
def test_a_round_is_well_only_if_everything_was_shown(found: Round, result: Result, is_whole: bool) -> None:
    """At the bound it is in time, beyond it late; what was not shown has failed, and what cannot be asked has not."""
    assert (found.result, found.is_whole) == (result, is_whole)


def test_before_the_first_round_nothing_is_known() -> None:
    """No figure, no time and no result, and every count is zero."""
    figures = _figures()
    assert (dict(figures.seconds()), figures.shown_at) == ({}, None)
    assert {result: figures.counts[result] for result in Result} == dict.fromkeys(Result, 0)
    told = figures.as_json()
    assert (told["ended_at"], told["result"], told["places"]) == (None, None, {})
    assert (told["bound"], told["every"]) == (BOUND_SECONDS, 300)


def test_figures_are_those_of_the_last_round() -> None:
    """A place that the last round did not measure has no figure any more, however good the one before was."""
    figures = _figures(_round(), _round(NotMeasured("not from here")))
    assert set(figures.seconds()) == set(Place) - {Place.GUARD}
    assert figures.as_json()["places"]["guard"] == {
        "seconds": None,
        "failed": "",
        "not_measured": "not from here",
    }


def test_a_failed_round_does_not_count_as_shown() -> None:
    """The time of the last round that showed something stays, and each result is counted."""
    figures = _figures(_round(ended_at=BEGAN + 1), _round(Measured(3.0), ended_at=BEGAN + 2))
    assert figures.shown_at == BEGAN + 2
    figures.note(_round(Failed("still taken"), ended_at=BEGAN + 3))
    assert figures.shown_at == BEGAN + 2
    assert figures.counts == {Result.OK: 1, Result.LATE: 1, Result.FAILED: 1}
    told = figures.as_json()
    assert (told["result"], told["ended_at"]) == ("failed", "2027-01-15T08:00:03.000000Z")
    assert told["places"]["guard"]["failed"] == "still taken"
