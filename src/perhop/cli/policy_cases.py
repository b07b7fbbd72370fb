"""`perhop policy test`: the cases of the authors, asked of the policies."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile
from perhop.cli.output import counted, emit_json, emit_text
from perhop.cli.policy_folder import PolicyFolder, emit_explanation, load_engine, policy_folder, unpinned
from perhop.control.failure import ExitCode
from perhop.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from perhop.policy.cases import CaseResult, Coverage, PolicyCase
    from perhop.policy.engine import PolicyEngine
    from perhop.settings import Settings

_MOST_NEAR = 1


def run_tests(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Files of cases."),
    ] = None,
    full_coverage: Annotated[
        bool, typer.Option("--full-coverage", help="Fail unless every policy decides in a case.")
    ] = False,
    policies: PolicyFolder = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Ask test cases of the policies. Says also which policies no case has tried.

    Without FILE, the cases are those in `*.yaml` beside the policies and in their folder `tests`.
    """
    import asyncio

    from perhop.control.known_schemas import known_tools
    from perhop.policy.cases import coverage_of, run_cases

    settings = load_settings(config)
    folder = policy_folder(policies, settings)
    engine = load_engine(folder, settings)
    cases = _load(files or _found(folder), engine, settings)
    known = asyncio.run(known_tools(settings))
    unknown = _unpinned(cases, known or {})
    results = run_cases(engine, cases, known or {})
    coverage = coverage_of(engine, results)
    passed = sum(result.passed for result in results)
    is_ok = passed == len(results) and (coverage.is_full or not full_coverage)
    if as_json:
        emit_json(
            {
                "ok": is_ok,
                "cases": [_as_json(each) for each in results],
                "coverage": asdict(coverage),
                "unpinned": unknown,
            }
        )
    else:
        for result in results:
            if not result.passed:
                _emit_failure(result)
        emit_text(f"{passed} of {counted(len(results), 'case')} passed")
        _emit_coverage(coverage, engine)
        if unknown:
            emit_text(unpinned(unknown, has_database=known is not None))
    if not is_ok:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _found(folder: Path) -> list[Path]:
    found = sorted({*folder.glob("*.yaml"), *folder.glob("tests/*.yaml")})
    if not found:
        raise NotFound(
            f"there are no test cases: no `*.yaml` in `{folder}` and in its folder `tests`",
            advice="name a file, or write one: see docs/policy-tools.md",
        )
    return found


def _load(files: list[Path], engine: PolicyEngine, settings: Settings) -> list[PolicyCase]:
    """The cases of all files, or the problems of all.

    Raises: NotFound, SettingsError
    """
    from perhop.settings.policy_cases import load_cases

    ids = [policy.id for policy in engine.policy_set.policies]
    cases: list[PolicyCase] = []
    problems: list[SettingsError] = []
    for file in files:
        try:
            cases += load_cases(file, settings.registry, ids)
        except SettingsError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise SettingsError(
            "\n".join(f"{each.problem}" + (f"; {each.advice()}" if each.advice() else "") for each in problems)
        )
    return cases


def _unpinned(cases: Iterable[PolicyCase], known: Container[str]) -> list[str]:
    """The resources whose tools a case calls, and of whose tools nothing is known."""
    from perhop.core.call import Action

    called = {each.question.server for each in cases if each.question.target.action is Action.CALL_TOOL}
    return sorted(name for name in called if name not in known)


def _emit_failure(result: CaseResult) -> None:
    case = result.case
    expected = f"{case.expect.value}{_by(case.by)}"
    emit_text(f"failed: {case.place}: {case.name}")
    emit_text(f"  expected {expected}, and it is {result.outcome.value}{_by(result.by)}")
    emit_text(f"  {result.explanation.summary}")
    emit_explanation(result.explanation, most_near=_MOST_NEAR)


def _by(policies: frozenset[str] | tuple[str, ...] | None) -> str:
    if policies is None:
        return ""
    return f" by {', '.join(f'`{each}`' for each in sorted(policies))}" if policies else " by no policy"


def _emit_coverage(coverage: Coverage, engine: PolicyEngine) -> None:
    if coverage.is_full:
        emit_text(f"every policy of {coverage.policies} decides in a case")
        return
    places = {policy.id: f"{policy.file}:{policy.line}" for policy in engine.policy_set.policies}
    for policy in coverage.unsatisfied:
        emit_text(f"not tried: `{policy}` at {places[policy]}: no case satisfies it")
    for policy in coverage.undecisive:
        emit_text(f"not tried: `{policy}` at {places[policy]}: no case would be decided otherwise without it")


def _as_json(result: CaseResult) -> dict[str, Any]:
    return {
        "name": result.case.name,
        "place": result.case.place,
        "passed": result.passed,
        "expected": {
            "outcome": result.case.expect.value,
            "by": sorted(result.case.by) if result.case.by is not None else None,
        },
        "observed": {"outcome": result.outcome.value, "by": list(result.by)},
        "explanation": asdict(result.explanation),
    }
