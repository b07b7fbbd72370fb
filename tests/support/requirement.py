"""What a requirement is, and the two ways to write one down; tests/requirements.py is the table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing that must be so. `spec` follows the grammar of `Spec:` lines."""

    says: str
    spec: str
    revisions: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    gap: str | None = None


def shown(spec: str, says: str, *tests: str, revisions: tuple[str, ...] = ()) -> Requirement:
    """A requirement that tests show; a path counts for the tests after it: `"a.py", "test_x", "test_y"`."""
    named, path = [], ""
    for word in tests:
        if word.endswith(".py"):
            path = f"tests/{word}"
        else:
            named.append(f"{path}::{word}")
    return Requirement(says=says, spec=spec, revisions=revisions, tests=tuple(named))


def gap(spec: str, says: str, missing: str, revisions: tuple[str, ...] = ()) -> Requirement:
    """A requirement that nothing shows yet, and why."""
    return Requirement(says=says, spec=spec, revisions=revisions, gap=missing)
