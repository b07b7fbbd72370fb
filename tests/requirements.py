"""What the specifications ask of Perhop, sentence by sentence, and which test shows it.

Every entry says in our words what must be so, where that is written, and for which MCP revisions it matters (none named:
for all, or the document is not MCP's). It is shown by tests, as `path::function`, or it is a gap, and the gap says what
is missing: data, never a skipped test. docs/spec-coverage.md is made from this table.
"""

from __future__ import annotations

from dataclasses import dataclass

LEGACY = ("2025-06-18", "2025-11-25")
MODERN = ("2026-07-28",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing that must be so. `spec` follows the grammar of `Spec:` lines."""

    says: str
    spec: str
    revisions: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    gap: str | None = None


REQUIREMENTS: dict[str, Requirement] = {}
