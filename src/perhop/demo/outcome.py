"""How one thing went in the demo: what was expected, and what was seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One attack as it went; the members are those of `--json`."""

    id: str
    title: str
    at: str
    expected: str
    observed: str
    reason: str | None
    ok: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
