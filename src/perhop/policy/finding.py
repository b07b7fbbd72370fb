"""What is wrong, or looks wrong, in a policy file, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error keeps the whole policy set from loading; a warning looks like a mistake; a hint is a matter of taste."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem, where it is, and the remedy. `policy` is the `@id`, empty where there is none to name."""

    severity: Severity
    file: str
    line: int
    policy: str
    message: str
    advice: str = ""

    @property
    def where(self) -> str:
        """`FILE:LINE`, the form that editors jump to."""
        return f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def problem_of(errors: Sequence[Finding]) -> tuple[str, str]:
    """What keeps a set from loading, in one line, and what to do: the first of the errors, and how many more."""
    first, more = errors[0], len(errors) - 1
    rest = f" (and {more} more: `perhop policy check` lists them)" if more else ""
    return f"{first}{rest}", first.advice
