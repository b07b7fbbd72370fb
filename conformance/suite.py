"""Runs the pinned suite against one URL and reads what it found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.fetch_real import PLACE, entry_of, environment, node

PACKAGE = "@modelcontextprotocol/conformance"
REVISIONS = ("2026-07-28", "2025-11-25")
RESULTS = PLACE.parent / "conformance"
_FOLDER = re.compile(r"server-(?P<scenario>.+)-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9-]+Z")
_NOT_JUDGED = {"INFO", "SKIPPED"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the checks of one scenario ended; skipped and merely informing ones count as neither."""

    passed: int
    failed: int
    complaints: tuple[str, ...]

    @property
    def is_passed(self) -> bool:
        """At least one check held, and none failed."""
        return self.passed > 0 and self.failed == 0


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """All scenarios of one revision against one server."""

    exit_code: int
    outcomes: dict[str, Outcome]
    results: Path


def scored_scenarios(revision: str) -> tuple[str, ...]:
    """The server scenarios that conformance to a revision requires, from the suite's own frozen list."""
    folder = PLACE / "node_modules" / PACKAGE / "requirements"
    listed = yaml.safe_load((folder / f"{revision}.yaml").read_text(encoding="utf-8"))
    return tuple(listed["server"])


def run_suite(url: str, revision: str, leg: str) -> SuiteRun:
    """Run every scenario of a revision against an MCP endpoint; what came out stays under .cache/conformance."""
    results = RESULTS / f"{leg}-{revision}"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    words = [node(), entry_of(PACKAGE, "conformance"), "server", "--url", url, "--requirements", revision]
    with tempfile.TemporaryDirectory(prefix="perhop-conformance-") as home, (results / "output.log").open("wb") as log:
        done = subprocess.run(
            [*map(str, words), "--timeout", "60000", "-o", str(results)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment(Path(home))},
            timeout=600,
            check=False,
        )
    return SuiteRun(done.returncode, _outcomes(results), results)


def _outcomes(results: Path) -> dict[str, Outcome]:
    found = {}
    for folder in sorted(results.iterdir()):
        named = _FOLDER.fullmatch(folder.name)
        checks = folder / "checks.json"
        if named and checks.is_file():
            found[named["scenario"]] = _outcome(json.loads(checks.read_text(encoding="utf-8")))
    return found


def _outcome(checks: list[dict[str, Any]]) -> Outcome:
    failed = [check for check in checks if check["status"] not in {"SUCCESS", *_NOT_JUDGED}]
    return Outcome(
        passed=sum(check["status"] == "SUCCESS" for check in checks),
        failed=len(failed),
        complaints=tuple(f"{check['id']}: {check.get('errorMessage', check['status'])}" for check in failed),
    )
