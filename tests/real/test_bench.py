"""The closed loop, by Debian's wrk."""

from __future__ import annotations

import pytest

from bench.installation import a_call, served_upstream
from bench.load import LoadFailed, closed_loop
from bench.processes import LOAD_CORE, on_core


def test_a_closed_loop_counts_what_was_answered_and_what_it_cost() -> None:
    """Requests, seconds and CPU of a second of calls agree with each other, and an error fails the run."""
    with served_upstream() as server, on_core(LOAD_CORE, ["sleep", "60"]) as idle:
        found = closed_loop(a_call(f"{server}/open", tokens=()), idle.pid, seconds=1, connections=4)
        assert found.requests > 0
        assert found.figures["requests_a_second"] == pytest.approx(found.requests / found.seconds)
        assert found.cpu < 0.1
        with pytest.raises(LoadFailed, match="were errors"):
            closed_loop(a_call(f"{server}/guarded", tokens=["not.a-token"]), idle.pid, seconds=1, connections=4)
