"""Runs the official conformance suite: on servers, on our client, and on our authorization server.

Four times on servers: on the bare one, and on each way to the guarded one. The ways are the gateway, the gateway with
a token for each call, and the guarded server alone. Every scenario that passes on the bare server must pass on each
of them with the same number of checks, whether it is scored or not, and every scored one must pass. A scenario that
ran on one side only is a problem too. No token may be refused meanwhile: a scenario that waits for a refusal must not
pass on our 401. And nothing of a token that came in may have gone out to a server behind the gateway. On the client
and on the authorization server everything must pass.

    python -m conformance.run [--bare-only | --client-only] [--write]

`--write` writes the figures into docs/conformance.md; without it they must be what stands there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conformance.authorization_leg import authorization_problems, run_authorization_leg
from conformance.client_legs import client_problems, run_client_legs
from conformance.figures import Figures, check_figures, write_figures
from conformance.installation import (
    Installation,
    Way,
    bare_server,
    guarded_installation,
    permitted_calls,
    refused_tokens,
)
from conformance.suite import REVISIONS, Outcome, SuiteRun, run_suite, scored_scenarios

BARE = "bare"
AT_ONCE = 2


def required_scenarios(revision: str, bare: SuiteRun) -> tuple[str, ...]:
    """What must pass: the scored scenarios, or where nothing is scored, all that there are."""
    scored = scored_scenarios(revision)
    return tuple(sorted(bare.outcomes)) if scored is None else scored


def failures(revision: str, bare: SuiteRun) -> Iterator[str]:
    """Required scenarios that fail on the bare server: then there is nothing to compare with."""
    required = required_scenarios(revision, bare)
    if not required:
        yield f"{revision}: nothing ran on the bare server"
    for scenario in required:
        outcome = bare.outcomes.get(scenario)
        if outcome is None or not outcome.is_passed:
            yield f"{revision} {scenario} on the bare server: {_told(outcome)}"


def losses(revision: str, bare: SuiteRun, guarded: SuiteRun) -> Iterator[str]:
    """What a way cost: a scenario that ran on one side only, or passed on the bare server and not so on the way."""
    for scenario in sorted({*bare.outcomes, *guarded.outcomes, *required_scenarios(revision, bare)}):
        before, after = bare.outcomes.get(scenario), guarded.outcomes.get(scenario)
        is_kept = before is not None and after is not None and (not before.is_passed or after.counts == before.counts)
        if not is_kept:
            yield f"{revision} {scenario}: bare {_told(before)}; here {_told(after)}"


def table(revision: str, legs: Mapping[str, SuiteRun]) -> str:
    """One line a scenario: checks passed and failed on each leg; in brackets what is not required."""
    required = required_scenarios(revision, legs[BARE])
    others = sorted({scenario for leg in legs.values() for scenario in leg.outcomes} - set(required))
    lines = [f"{revision:<46}" + "".join(f"{leg:>13}" for leg in legs)]
    for scenario in (*required, *others):
        name = scenario if scenario in required else f"({scenario})"
        lines.append(f"  {name:<44}" + "".join(f"{_cell(leg.outcomes.get(scenario)):>13}" for leg in legs.values()))
    return "\n".join(lines)


def _cell(outcome: Outcome | None) -> str:
    return "-" if outcome is None else "skipped" if outcome.is_skipped else f"{outcome.passed}/{outcome.failed}"


def _told(outcome: Outcome | None) -> str:
    if outcome is None:
        return "did not run"
    return "; ".join((_cell(outcome), *outcome.complaints))


def wrongs(way: Way) -> Iterator[str]:
    """What must not have happened on a way, whatever the scenarios say."""
    yield from (f"{way.name}: the guard refused a token: {refused}" for refused in way.refused_by_guard())
    if not way.tokens():
        yield f"{way.name}: no token was presented"
    if way.recordings is not None:
        if not any(sent.bearer for sent in way.recordings.requests()):
            yield f"{way.name}: the server was sent no token, or the relay has kept none"
        yield from (f"{way.name}: {trace}" for trace in way.recordings.traces(way.tokens()))


def _wrong_records(installation: Installation) -> Iterator[str]:
    records = installation.records()
    yield from (f"a token was refused: {record}" for record in refused_tokens(records))
    for way in installation.ways.values():
        if way.recordings is not None and not permitted_calls(records, way.name):
            yield f"{way.name}: no call went through the gateway"


def _run_legs(urls: Mapping[str, str]) -> dict[str, dict[str, SuiteRun]]:
    """Every revision on every leg: the outcomes by revision, then by leg. A leg is one server, so one run at a time."""

    def leg(name: str) -> dict[str, SuiteRun]:
        return {revision: run_suite(urls[name], revision, name.replace(" ", "-")) for revision in REVISIONS}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = dict(zip(urls, pool.map(leg, urls), strict=True))
    return {revision: {name: runs[name][revision] for name in urls} for revision in REVISIONS}


def _run_bare() -> list[str]:
    with bare_server() as bare_url:
        legs = _run_legs({BARE: bare_url})
    for revision in REVISIONS:
        print(table(revision, legs[revision]), end="\n\n")
    return [problem for revision in REVISIONS for problem in failures(revision, legs[revision][BARE])]


def _run_servers(folder: Path, figures: Figures) -> list[str]:
    """The servers, and the authorization server of the installation that guards them."""
    with bare_server() as bare_url, guarded_installation(folder) as installation:
        legs = _run_legs({BARE: bare_url} | {name: way.url for name, way in installation.ways.items()})
        problems = [wrong for way in installation.ways.values() for wrong in wrongs(way)]
        authorization = run_authorization_leg(installation)
        problems.extend(authorization_problems(authorization))
        problems.extend(_wrong_records(installation))
    figures.authorization = authorization
    figures.servers = legs
    for revision in REVISIONS:
        print(table(revision, legs[revision]), end="\n\n")
        bare = legs[revision][BARE]
        problems.extend(failures(revision, bare))
        for name in installation.ways:
            problems.extend(f"{name}: {loss}" for loss in losses(revision, bare, legs[revision][name]))
    return problems


def main() -> int:
    """Print the tables, then what was lost."""
    figures = Figures()
    if "--bare-only" in sys.argv:
        problems = _run_bare()
    else:
        begun = time.monotonic()
        figures.clients = run_client_legs()
        print(f"client legs: {time.monotonic() - begun:.0f} s", file=sys.stderr)
        problems = list(client_problems(figures.clients))
        if "--client-only" not in sys.argv:
            with tempfile.TemporaryDirectory(prefix="perhop-conformance-") as scratch:
                problems.extend(_run_servers(Path(scratch) / "run", figures))
        print(figures.table())
        if "--write" in sys.argv:
            write_figures(figures)
        problems.extend(check_figures(figures))
    for problem in problems:
        print(f"problem: {problem}")
    print(f"\n{len(problems)} problems")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
