"""The scan as a plugin of pytest: a leak fails the test that made it, and a run that looked at nothing fails.

Everything that one test shows is looked through when the test has ended; what is in folders that several tests share,
when the last test of their file has ended, and what is left for the next run at the end of this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.leaks.files import Sight
from tests.support.leaks.scan import THE_SCAN, Leak, Scan
from tests.support.leaks.secrets import Kind
from tests.support.leaks.taps import listening

KEPT_UNTIL_THE_END = "temporary"
"""The folder for what a guard leaves for the next, see `tests/conftest.py`."""

WANTED: Mapping[str, frozenset[str]] = {
    "tests": frozenset((*Sight, *Kind)),
    "tests/real": frozenset(
        {
            *(Sight.FILE, Sight.DATABASE, Sight.RECORD, Sight.CHECKPOINT, Sight.OUTPUT, Sight.LOG, Sight.ANSWER),
            *(Kind.TOKEN, Kind.CLIENT_SECRET, Kind.PASSWORD, Kind.PRIVATE_KEY, Kind.CODE, Kind.COOKIE, Kind.SESSION),
        }
    ),
}
"""What a whole run must have looked at and looked for, by the folder that it ran."""


class LeakScan:
    """One process of the run: the only one, a worker, or the one that commands workers and runs no test itself."""

    def __init__(self, config: pytest.Config, scan: Scan) -> None:
        self._config = config
        self._scan = scan
        self._is_last_of_file = True
        self._seen: Counter[str] = Counter()
        self._at_the_end: list[str] = []
        self._stack = ExitStack()

    def pytest_sessionstart(self) -> None:
        self._stack.enter_context(listening(self._scan))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        self._is_last_of_file = nextitem is None or nextitem.path != item.path
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "teardown":
            for name, content in report.sections:
                if content and "log" not in name:
                    self._scan.show(Sight.OUTPUT, name, content)
            self._close_folders(item)
            if leaks := self._scan.leaks():
                report.outcome = "failed"
                report.sections = []  # what was captured may hold it
                report.longrepr = "\n".join(filter(None, (*map(str, leaks), str(report.longrepr or ""))))
        return report

    def _close_folders(self, item: pytest.Item) -> None:
        own = getattr(item, "funcargs", {}).get("tmp_path")
        for folder in self._scan.open_folders():
            if folder == own or (self._is_last_of_file and not folder.name.startswith(KEPT_UNTIL_THE_END)):
                self._scan.close_folder(folder)
        self._scan.learn_from_open_folders()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        for folder in self._scan.open_folders():
            self._scan.close_folder(folder)
        self._take(self._scan.leaks(), self._tally())
        self._stack.close()
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["leak_scan"] = {
                "seen": {str(each): count for each, count in self._seen.items()},
                "leaks": self._at_the_end,
            }
            return
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and self._has_run():
            self._at_the_end += self._missing()
        if self._at_the_end and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist's has ended: what it has seen is added."""
        told = getattr(node, "workeroutput", {}).get("leak_scan")
        if told is not None:
            self._take(told["leaks"], Counter(told["seen"]))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for each in self._at_the_end:
            terminalreporter.write_line(f"leak scan: {each}", red=True)
        terminalreporter.write_line(f"leak scan: {summary(self._seen)}")

    def _take(self, leaks: list[Leak] | list[str], seen: Counter[str]) -> None:
        self._at_the_end += [str(each) for each in leaks]
        self._seen += seen

    def _tally(self) -> Counter[str]:
        known = self._scan.secrets.known()
        return self._scan.seen + Counter({"octets": self._scan.octets, **{str(kind): known[kind] for kind in known}})

    def _has_run(self) -> bool:
        """False if every test was skipped, as those of real software are where it was not fetched."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        return reporter is None or bool(reporter.stats.get("passed"))

    def _missing(self) -> list[str]:
        """What a whole run had none of: then nothing was looked at there, and the scan has shown nothing."""
        wanted = WANTED.get(what_runs(self._config), frozenset())
        return [f"a whole run, and no {each}" for each in sorted(wanted) if not self._seen[each]]


def what_runs(config: pytest.Config) -> str:
    """The folder of which every test runs, from the project's root; empty if only some do."""
    option = config.option
    picked = (option.keyword, option.markexpr, option.deselect, option.maxfail, option.collectonly)
    if any(picked) or config.getoption("lf", False) or config.getoption("stepwise", False):
        return ""
    if config.args_source in (pytest.Config.ArgsSource.TESTPATHS, pytest.Config.ArgsSource.INVOCATION_DIR):
        return "tests"
    paths = [Path(config.invocation_params.dir, argument) for argument in config.args]
    named = [str(path.relative_to(config.rootpath)) for path in paths if path.is_relative_to(config.rootpath)]
    return named[0] if len(named) == len(paths) == 1 and "::" not in named[0] else ""


def summary(seen: Mapping[str, int]) -> str:
    """One line on what was looked at, and for what."""
    looked = ", ".join(f"{seen.get(sight, 0)} {sight}" for sight in Sight)
    known = ", ".join(f"{seen.get(kind, 0)} {kind}s" for kind in Kind)
    return f"{looked}; {seen.get('octets', 0)} octets; for {known}"


def register(config: pytest.Config) -> None:
    """Scan this run."""
    config.pluginmanager.register(LeakScan(config, THE_SCAN), "leak-scan")
