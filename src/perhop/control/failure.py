"""How a failure is told to whoever ran a command: what is wrong, what to do, and the exit code.

One mapping for commands that run here and for those that a running server carried out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from perhop.errors import (
    JournalUnavailable,
    OperatorError,
    OwnerMissing,
    PerhopError,
    Refused,
    StorageUnavailable,
    Unavailable,
)


class ExitCode(IntEnum):
    """What the exit codes of every command mean."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DENIED = 3
    AUTHENTICATION_NEEDED = 4
    REMOTE_UNREACHABLE = 5
    NOT_FOUND = 6
    CHECK_FAILED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed command. Its members cross the control socket."""

    problem: str
    advice: str
    exit_code: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class RemoteFailure(OperatorError):
    """What the running server said no with."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.problem, advice=failure.advice)
        self.failure = failure


def failure_of(error: PerhopError) -> Failure:
    """How this error is told. Holds what a log may hold, so it is for operators and never for a peer."""
    match error:
        case RemoteFailure():
            return error.failure
        case OperatorError():
            return Failure(problem=error.problem, advice=error.advice(), exit_code=error.exit_code)
        case Refused() | OwnerMissing():
            return Failure(problem=_with_reason(error), advice="", exit_code=ExitCode.DENIED)
        case JournalUnavailable() | StorageUnavailable():
            return Failure(problem=_with_reason(error), advice="see `perhop doctor`", exit_code=ExitCode.FAILURE)
        case Unavailable():
            return Failure(problem=_with_reason(error), advice="", exit_code=ExitCode.REMOTE_UNREACHABLE)
        case _:
            return Failure(problem=str(error), advice="", exit_code=ExitCode.FAILURE)


def _with_reason(fact: Refused | Unavailable) -> str:
    return f"{fact.detail or fact.description} ({fact.reason})"
