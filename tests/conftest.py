"""What holds for every test: in CI a skipped test is a failure, and property tests are the same on each run."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.leaks import plugin
from tests.support.pools import pool_environment

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

# On two shared cores a deadline measures the neighbours; in CI a failure must come again with the same examples.
settings.register_profile("perhop", deadline=None, max_examples=100)
settings.register_profile("perhop-ci", deadline=None, max_examples=100, derandomize=True)
settings.load_profile("perhop-ci" if IN_CI else "perhop")


def pytest_configure(config: pytest.Config) -> None:
    """Tests of two workers guard resources of the same name: each has its own place for the guards' locks.

    And every run is scanned for leaks. A shell that runs it in the background has it ignore Ctrl-C, and every process
    that it starts: those that are sent one would not end.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        place = Path(tempfile.gettempdir()) / f"perhop-tests-{os.getppid()}-{worker}"
        place.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(place)
    plugin.register(config)


LONGEST_FIRST = (
    *("test_guide_two_servers.py", "test_kills.py", "test_apply.py", "test_archive.py", "test_guide.py"),
    *("test_attacks.py", "test_call_tokens.py", "test_console_attacks.py", "test_console.py"),
    *("test_tool_pins.py", "test_local_servers.py", "test_gateway_stdio.py", "test_drain.py", "test_key_rotation.py"),
    *("test_cli_people_and_tokens.py", "test_cli_journal.py", "test_incident.py"),
    *(
        "test_cli_configuration.py",
        "test_revocation_everywhere.py",
        "test_cli_start.py",
        "test_doctor.py",
        "test_export.py",
        "test_cli_client_config.py",
    ),
)
"""Files that take longest: begun first, so that one worker does not wait for the other at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by `LONGEST_FIRST`; the tests of a file stay together and in their order."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True, scope="session")
def _clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The developer's own PERHOP_ variables configure no test, and what a guard leaves for the next stays in here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        patch.setattr(tempfile, "tempdir", None)
        for name in [name for name in os.environ if name.startswith("PERHOP_")]:
            patch.delenv(name)
        for name, value in pool_environment().items():
            patch.setenv(name, value)
        yield


def _skipped(session: pytest.Session) -> int:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter is not None else 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Spoil the exit status of a CI run that skipped something: a test nobody ran proves nothing."""
    if IN_CI and exitstatus == pytest.ExitCode.OK and _skipped(session):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if IN_CI and (skipped := len(terminalreporter.stats.get("skipped", []))):
        terminalreporter.write_line(f"in CI a skipped test is a failure: {skipped} skipped", red=True)
