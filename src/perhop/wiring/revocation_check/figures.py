"""What the check of the revocation bound has found: figures, and where there are none, why. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, assert_never

from perhop.journal.canonical import format_time
from perhop.rules.revocation import BOUND_SECONDS


class Place(StrEnum):
    """Where a revoked token must be refused."""

    TOKEN_ENDPOINT = "token_endpoint"
    GATEWAY = "gateway"
    STREAM = "stream"
    GUARD = "guard"


@dataclass(frozen=True, slots=True)
class Measured:
    """So many seconds after the revocation was asked for, the token was refused."""

    seconds: float

    @property
    def is_late(self) -> bool:
        """True of a revocation that took longer than we promise."""
        return self.seconds > BOUND_SECONDS


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """The place cannot be asked from here, which says nothing of it."""

    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The place did not take the token before it was revoked, or did not refuse it afterwards."""

    why: str


Outcome = Measured | NotMeasured | Failed


class Result(StrEnum):
    """What one round came to."""

    OK = "ok"
    LATE = "late"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round. `problem` says what went wrong with the revocation itself; `ended_at` is seconds since the epoch."""

    ended_at: float
    outcomes: Mapping[Place, Outcome] = field(default_factory=dict)
    problem: str = ""

    @property
    def result(self) -> Result:
        """Failed where anything was not shown; a place that cannot be asked from here is no failure."""
        outcomes = self.outcomes.values()
        if self.problem or not outcomes or any(isinstance(each, Failed) for each in outcomes):
            return Result.FAILED
        return Result.LATE if any(isinstance(each, Measured) and each.is_late for each in outcomes) else Result.OK

    @property
    def is_whole(self) -> bool:
        """True if there is a figure for every place."""
        return not self.problem and all(isinstance(self.outcomes.get(place), Measured) for place in Place)


class Figures:
    """What the rounds of one server have come to so far. `every` is the time between two, in seconds."""

    def __init__(self, *, every: float, began_at: float) -> None:
        self.every = every
        self.began_at = began_at
        self.latest: Round | None = None
        self.shown_at: float | None = None
        self.counts: Counter[Result] = Counter()

    def note(self, found: Round) -> None:
        """Take in the round that has just ended."""
        self.latest = found
        self.counts[found.result] += 1
        if found.result is not Result.FAILED:
            self.shown_at = found.ended_at

    def seconds(self) -> Mapping[Place, float]:
        """The figures of the last round; a place that it could not measure has none."""
        outcomes = self.latest.outcomes if self.latest is not None else {}
        return {place: each.seconds for place, each in outcomes.items() if isinstance(each, Measured)}

    def as_json(self) -> dict[str, Any]:
        """What `/readyz` says of it. `ended_at` is when the last round ended, null before the first has."""
        latest = self.latest
        return {
            "bound": BOUND_SECONDS,
            "every": self.every,
            "began_at": format_time(self.began_at),
            "ended_at": None if latest is None else format_time(latest.ended_at),
            "result": None if latest is None else latest.result.value,
            "problem": "" if latest is None else latest.problem,
            "places": {} if latest is None else {place.value: _told(each) for place, each in latest.outcomes.items()},
        }


def _told(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Measured():
            return {"seconds": round(outcome.seconds, 4), "failed": "", "not_measured": ""}
        case NotMeasured():
            return {"seconds": None, "failed": "", "not_measured": outcome.why}
        case Failed():
            return {"seconds": None, "failed": outcome.why, "not_measured": ""}
        case _:
            assert_never(outcome)
