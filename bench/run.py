"""The benchmarks: `make bench`, or `python -m bench.run [--quick] [--only SCENARIO]... [--record] [--json] [--check]`.

Tables go to stdout, how far it is to stderr. A run of all scenarios is recorded in `bench/results`, and a full one
becomes the page `docs/performance.md`. With `--check` nothing is recorded: the exit code is 7 if the run is grossly
slower than the recorded one, and what looks so is measured once more before it is believed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import page
from bench.check import COMPARED, confirmed
from bench.machine import machine, peers
from bench.measured import Results, Size
from bench.scenarios import SCENARIOS, Scenario
from bench.tables import measured_table, targets_table
from scripts.fetch_debian import fetch
from scripts.fetch_real import RealSoftwareMissing

RESULTS = Path(__file__).parent / "results"
FAILED, FOUND_PROBLEMS = 1, 7


def main() -> int:
    """Measure what was asked for, tell it, and record or compare it."""
    options = _options()
    size = Size.QUICK if options.quick else Size.FULL
    wanted = _wanted(options)
    try:
        fetch(["nginx", "wrk"])
    except RealSoftwareMissing as missing:
        sys.stderr.write(f"bench: {missing}\n")
        return FAILED
    results = measured(size, wanted, Results(size, machine()))
    if options.check:
        return _compared(results, wanted, as_json=options.json)
    _show(results, as_json=options.json)
    if options.record or not options.only:
        results.write(RESULTS / f"{size}.json")
        if size is Size.FULL:
            page.write()
    found = {each.scenario for each in results.measured}
    return 0 if found >= {each.name for each in wanted} else FAILED


def _wanted(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios that were named; else all of them, but for a check only those of which something is compared."""
    compared = {ratio.scenario for ratio in COMPARED}
    names = options.only or [each.name for each in SCENARIOS if not options.check or each.name in compared]
    return [each for each in SCENARIOS if each.name in names]


def measured(size: Size, wanted: Sequence[Scenario], results: Results) -> Results:
    """These results and those of the scenarios, each told how long it took. One that fails is told, and left out."""
    for scenario in wanted:
        began = time.monotonic()
        try:
            results = results.with_more(scenario.measure(size, partial(tell, scenario.name)))
        except (RuntimeError, AssertionError, OSError) as failed:
            sys.stderr.write(f"bench: {scenario.name}: not measured: {failed}\n")
            continue
        took, budget = time.monotonic() - began, scenario.budget(size)
        tell(scenario.name, f"{took:.0f} s" + (f", more than its {budget:.0f} s" if took > budget else ""))
    return Results(size, results.machine | peers(size), results.measured)


def _compared(results: Results, wanted: Sequence[Scenario], *, as_json: bool) -> int:
    recorded = Results.read(RESULTS / f"{results.size}.json")
    names = [each.name for each in wanted]
    compared = [ratio for ratio in COMPARED if ratio.scenario in names]

    def again(scenarios: Sequence[str]) -> Results:
        sys.stderr.write(f"bench: check: something looks lost; measuring again: {', '.join(scenarios)}\n")
        chosen = [each for each in SCENARIOS if each.name in scenarios]
        return measured(results.size, chosen, Results(results.size, results.machine))

    losses = confirmed(results, recorded, again, compared)
    _show(results, as_json=as_json)
    for each in losses:
        sys.stderr.write(f"bench: lost: {each}\n")
    return FOUND_PROBLEMS if losses else 0


def _show(results: Results, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(results.text())
    else:
        sys.stdout.write(measured_table(results) + "\n" + targets_table(results))
    sys.stdout.flush()


def tell(scenario: str, text: str) -> None:
    """How far it is, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"bench: {scenario}: {text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="what a call costs, beside peers, and what grows with what")
    parser.add_argument("--quick", action="store_true", help="under three minutes, not thirty; fewer peers and rounds")
    names = [each.name for each in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, help="this scenario; may come again; not recorded")
    parser.add_argument("--record", action="store_true", help="with --only: record the run, though it is not whole")
    parser.add_argument("--json", action="store_true", help="the results as JSON on stdout")
    parser.add_argument("--check", action="store_true", help="compare with the recorded run, and record nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
