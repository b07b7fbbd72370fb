"""What one check of `perhop doctor` has seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

PAGE = "docs/reference/doctor.md"


class Status(StrEnum):
    """How it stands. Only what failed makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One answer of a check: what was seen, and what to do. `part` names the resource or place it is about, if one."""

    status: Status
    seen: str
    fix: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An answer together with the check that gave it, and why that matters."""

    check: str
    why: str
    answer: Seen

    @property
    def name(self) -> str:
        """The check, and the resource or place that it is about, if one."""
        return f"{self.check} {self.answer.part}".rstrip()

    @property
    def page(self) -> str:
        """Where the check is described."""
        return f"{PAGE}#{self.check.replace(' ', '-')}"

    @property
    def needs_words(self) -> bool:
        """True if somebody should do something."""
        return self.answer.status in (Status.WARNING, Status.FAILED)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "check": self.check,
            "part": self.answer.part or None,
            "status": self.answer.status.value,
            "seen": self.answer.seen,
            "why": self.why,
            "fix": self.answer.fix if self.needs_words else "",
            "page": self.page,
        }


def ok(seen: str, *, part: str = "") -> Seen:
    """Nothing to do."""
    return Seen(status=Status.OK, seen=seen, part=part)


def warning(seen: str, fix: str, *, part: str = "") -> Seen:
    """It works, and somebody should look."""
    return Seen(status=Status.WARNING, seen=seen, fix=fix, part=part)


def failed(seen: str, fix: str, *, part: str = "") -> Seen:
    """It does not work, or is not safe."""
    return Seen(status=Status.FAILED, seen=seen, fix=fix, part=part)


def skipped(seen: str, *, part: str = "") -> Seen:
    """It was not looked at, and why not."""
    return Seen(status=Status.SKIPPED, seen=seen, part=part)


def some(names: list[str], *, most: int = 8) -> str:
    """A few of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(f"`{name}`" for name in names[:most]) + (f" and {more} more" if more > 0 else "")
