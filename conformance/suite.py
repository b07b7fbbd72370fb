"""Runs the pinned suite, against a server, a client or an authorization server, and reads what it found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.fetch_real import PLACE, entry_of, environment, node

PACKAGE = "@modelcontextprotocol/conformance"
REVISIONS = ("2026-07-28", "2025-11-25", "2025-06-18")
RESULTS = PLACE.parent / "conformance"
_FOLDER = re.compile(r"(?:server-|authorization-server-)?(?P<scenario>.+)-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9-]+Z")
_SECONDS = 600
_NOT_JUDGED = {"INFO", "SKIPPED"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the checks of one scenario ended; skipped and merely informing ones count as neither."""

    passed: int
    failed: int
    complaints: tuple[str, ...] = ()
    skipped: int = 0

    @property
    def is_passed(self) -> bool:
        """At least one check held, and none failed."""
        return self.passed > 0 and self.failed == 0

    @property
    def told(self) -> str:
        """Checks passed and failed, and what was complained of."""
        return "; ".join((f"{self.passed}/{self.failed}", *self.complaints))

    @property
    def is_skipped(self) -> bool:
        """Nothing was judged, and something was left out."""
        return self.skipped > 0 and self.passed == self.failed == 0

    @property
    def counts(self) -> tuple[int, int, int]:
        """What must be the same wherever the scenario runs."""
        return self.passed, self.failed, self.skipped


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """All scenarios of one revision against one server."""

    exit_code: int
    outcomes: dict[str, Outcome]
    results: Path


def scored_scenarios(revision: str, side: str = "server") -> tuple[str, ...] | None:
    """The scenarios of one side that conformance to a revision requires, from the suite's own frozen list.

    None for a revision without a list: then all that the suite has for it are required.
    """
    file = _requirements(revision)
    if not file.is_file():
        return None
    return tuple(yaml.safe_load(file.read_text(encoding="utf-8"))[side])


def _requirements(revision: str) -> Path:
    return PLACE / "node_modules" / PACKAGE / "requirements" / f"{revision}.yaml"


def run_suite(url: str, revision: str, leg: str) -> SuiteRun:
    """Run every scenario of a revision against an MCP endpoint; what came out stays under .cache/conformance."""
    words: list[str | Path] = ["server", "--url", url]
    words += ["--requirements", revision] if _requirements(revision).is_file() else _all_of(revision)
    return run_words([*words, "--timeout", "60000"], f"{leg}-{revision}")


def run_words(words: Sequence[str | Path], leg: str) -> SuiteRun:
    """Run the suite with these words to its end."""
    with suite_started(words, leg) as (process, results):
        code = process.wait(_SECONDS)
    return SuiteRun(code, outcomes_in(results), results)


@contextmanager
def suite_started(words: Sequence[str | Path], leg: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The running suite, and the folder where its output (`output.log`) and its results come; killed with the block."""
    results = RESULTS / leg
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    command = [node(), entry_of(PACKAGE, "conformance"), *words, "-o", results]
    with tempfile.TemporaryDirectory(prefix="perhop-conformance-") as home, (results / "output.log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment(Path(home))},
        )
        try:
            yield process, results
        finally:
            process.kill()
            process.wait()


def _all_of(revision: str) -> list[str | Path]:
    return ["--suite", "all", "--spec-version", revision]


def outcomes_in(results: Path) -> dict[str, Outcome]:
    """What came of each scenario whose checks lie there."""
    found = {}
    for checks in sorted(results.rglob("checks.json")):
        named = _FOLDER.fullmatch(checks.parent.relative_to(results).as_posix())
        if named:
            found[named["scenario"]] = _outcome(json.loads(checks.read_text(encoding="utf-8")))
    return found


def _outcome(checks: list[dict[str, Any]]) -> Outcome:
    failed = [check for check in checks if check["status"] not in {"SUCCESS", *_NOT_JUDGED}]
    return Outcome(
        passed=sum(check["status"] == "SUCCESS" for check in checks),
        failed=len(failed),
        skipped=sum(check["status"] == "SKIPPED" for check in checks),
        complaints=tuple(f"{check['id']}: {check.get('errorMessage', check['status'])}" for check in failed),
    )
