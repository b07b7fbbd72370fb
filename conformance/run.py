"""Runs the official conformance suite twice: on the bare server, then through the gateway on the guarded one.

Through the gateway every scored scenario must pass, with no fewer checks than on the bare server, and the journal must
show that no token was refused meanwhile: a scenario that waits for a refusal must not pass on our 401.

    python -m conformance.run [--bare-only]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from conformance.installation import bare_server, guarded_installation, permitted_calls, refused_tokens
from conformance.suite import REVISIONS, Outcome, SuiteRun, run_suite, scored_scenarios

_NONE = Outcome(0, 0, ("the scenario did not run",))


def losses(revision: str, bare: SuiteRun, guarded: SuiteRun) -> Iterator[str]:
    """What the gateway cost: scored scenarios that fail, or that pass with fewer checks than on the bare server."""
    for scenario in scored_scenarios(revision):
        before, after = bare.outcomes.get(scenario, _NONE), guarded.outcomes.get(scenario, _NONE)
        if not after.is_passed or after.passed < before.passed:
            yield f"{revision} {scenario}: {'; '.join(after.complaints) or f'{after.passed} of {before.passed} checks'}"


def failures(revision: str, bare: SuiteRun) -> Iterator[str]:
    """Scored scenarios that fail on the bare server: then there is nothing to compare with."""
    for scenario in scored_scenarios(revision):
        outcome = bare.outcomes.get(scenario, _NONE)
        if not outcome.is_passed:
            yield f"{revision} {scenario} on the bare server: {'; '.join(outcome.complaints)}"


def table(revision: str, bare: SuiteRun, guarded: SuiteRun | None) -> str:
    """One line a scenario: checks passed and failed, bare and through the gateway."""
    scored = scored_scenarios(revision)
    others = sorted({*bare.outcomes, *(guarded.outcomes if guarded else ())} - set(scored))
    lines = [f"{revision:<46} {'bare':>8} {'gateway':>8}"]
    for scenario in (*scored, *others):
        cells = [_cell(run.outcomes.get(scenario)) if run else "" for run in (bare, guarded)]
        name = scenario if scenario in scored else f"({scenario})"
        lines.append(f"  {name:<44} {cells[0]:>8} {cells[1]:>8}")
    return "\n".join(lines)


def _cell(outcome: Outcome | None) -> str:
    return "-" if outcome is None else f"{outcome.passed}/{outcome.failed}"


def _run(folder: Path, *, bare_only: bool) -> tuple[list[str], str]:
    problems: list[str] = []
    with bare_server() as url:
        bare = {revision: run_suite(url, revision, "bare") for revision in REVISIONS}
    for revision in REVISIONS:
        problems.extend(failures(revision, bare[revision]))
    if bare_only:
        return problems, "\n\n".join(table(revision, bare[revision], None) for revision in REVISIONS)
    with guarded_installation(folder) as installation:
        guarded = {revision: run_suite(installation.url, revision, "gateway") for revision in REVISIONS}
        records = installation.records()
    problems.extend(f"a token was refused: {record}" for record in refused_tokens(records))
    if not permitted_calls(records):
        problems.append("no call went through the gateway")
    for revision in REVISIONS:
        problems.extend(losses(revision, bare[revision], guarded[revision]))
    return problems, "\n\n".join(table(revision, bare[revision], guarded[revision]) for revision in REVISIONS)


def main() -> int:
    """Print the table (checks passed/failed; in brackets what is not scored), then what was lost."""
    with tempfile.TemporaryDirectory(prefix="perhop-conformance-") as scratch:
        problems, shown = _run(Path(scratch) / "installation", bare_only="--bare-only" in sys.argv)
    print(shown)
    for problem in problems:
        print(f"lost: {problem}")
    scored = sum(len(scored_scenarios(revision)) for revision in REVISIONS)
    print(f"\n{scored} scored scenarios, {len(problems)} problems")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
