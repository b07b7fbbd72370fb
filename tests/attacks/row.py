"""A row of the table: one attack, where it is tried, and what must be seen there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.support.doors import Answer


class Door(StrEnum):
    """Where an attack is tried. Gateway and guard are sent the same request, each with its own audience."""

    GATEWAY = "gateway"
    GUARD = "guard"
    STS = "sts"
    AUTHORIZE = "authorize"
    CONFIG = "config"
    JOURNAL = "journal"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one try came to. `observed` is the HTTP status, then the error code if any, or words where there is no HTTP.

    `reason` is what the refusing part wrote down, `records` how often it wrote, `passed` how many requests came
    through the door.
    """

    observed: str
    reason: str | None = None
    records: int = 0
    passed: int = 0
    answer: Answer | None = None

    @property
    def outcome(self) -> tuple[str, str | None, int, int]:
        """What is held against the row."""
        return self.observed, self.reason, self.records, self.passed


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be seen; the members are those of `Seen`."""

    observed: str
    reason: str | None = None
    records: int = 1
    passed: int = 0

    @property
    def outcome(self) -> tuple[str, str | None, int, int]:
        return self.observed, self.reason, self.records, self.passed


Sights = Mapping[str, Seen]
"""What was seen, by the variant of the attack."""

Attempt = Callable[[Any], Awaitable[Sights]]
"""Tries every variant of one attack at one door of the world."""

PASSES_GATEWAY = Expected("200", None, records=2, passed=1)
PASSES_GUARD = Expected("200", None, records=0, passed=1)
"""Not every row is refused: some must pass at both doors alike, or only where the contract has a leeway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attack.

    `differs` says why gateway and guard may answer differently, and is empty where they must not; `only` says why it is
    tried at one of the two.
    """

    slug: str
    title: str
    source: str
    attempts: Mapping[Door, Attempt]
    expected: Mapping[Door, Expected]
    differs: str = ""
    only: str = ""

    @property
    def doors(self) -> frozenset[Door]:
        return frozenset(self.attempts)
