"""How the threads that write are scheduled: they let the event loop go on, unless the operator wants something else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perhop.journal.scheduling import wait_for_the_core
from perhop.storage.journal_db import open_journal
from tests.support.journals import make_journal

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="this system has no such policies")

NOW = 1_790_000_000.0


def policy_after(*steps: Callable[[], None]) -> int:
    """The policy of a thread that has done these."""

    def run() -> int:
        for step in steps:
            step()
        return os.sched_getscheduler(0)

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(run).result()


def test_a_thread_waits_for_the_core_and_no_other_does() -> None:
    """The policy is the calling thread's alone."""
    before = os.sched_getscheduler(0)
    assert policy_after(wait_for_the_core) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == before


def test_what_the_operator_chose_stays() -> None:
    """A server that runs when nobody else wants the core does not make itself more important."""

    def choose_idle() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    assert policy_after(choose_idle, wait_for_the_core) == os.SCHED_IDLE


def test_a_system_that_does_not_allow_it_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a filter of system calls."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert policy_after(wait_for_the_core) == os.SCHED_OTHER


async def test_the_threads_of_the_journal_wait_for_the_core(tmp_path: Path) -> None:
    """The writer's, and that which moves its log."""
    made = make_journal(tmp_path)
    journal = open_journal(made.path, key=made.key, clock=lambda: NOW)
    try:
        await journal.swept()
        ids = {each.name: each.native_id or 0 for each in threading.enumerate() if each.name.startswith("perhop-jour")}
        assert set(ids) == {"perhop-journal", "perhop-journal-log"}
        assert {os.sched_getscheduler(each) for each in ids.values()} == {os.SCHED_BATCH}
    finally:
        await journal.close()
