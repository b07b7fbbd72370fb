"""The closed loop, by Debian's wrk, and the rounds that it is part of."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.installation import a_call, served_upstream
from bench.load import Ask, LoadFailed, closed_loop
from bench.processes import LOAD_CORE, SUBJECT_CORE, on_core
from bench.subjects import Rounds, Subject, in_turn
from tests.support.processes import LOOPBACK


def test_a_closed_loop_counts_what_was_answered_and_what_it_cost() -> None:
    """Requests, seconds and CPU of a second of calls agree with each other, and an error fails the run."""
    with served_upstream() as server, on_core(LOAD_CORE, ["sleep", "60"]) as idle:
        found = closed_loop(a_call(f"{server}/open", tokens=()), idle.pid, seconds=1, connections=4)
        assert found.requests > 0
        assert found.figures["requests_a_second"] == pytest.approx(found.requests / found.seconds)
        assert found.cpu < 0.1
        with pytest.raises(LoadFailed, match="were errors"):
            closed_loop(a_call(f"{server}/guarded", tokens=["not.a-token"]), idle.pid, seconds=1, connections=4)


def test_subjects_take_turns_and_are_measured_in_every_round() -> None:
    """Each subject has every figure of every round; what was added is told only of those that are asked for it."""
    with served_upstream() as server, on_core(SUBJECT_CORE, ["sleep", "60"]) as idle:
        direct = a_call(f"{server}/open", tokens=())
        first = Subject(name="first", setup="", pid=idle.pid, ask=lambda: direct, answer="", rate=20)
        second = replace(first, name="second", rate=0)
        told: list[str] = []
        rounds = Rounds(count=2, closed=1, open=0.2)
        found = in_turn("made up", [first, second], rounds, told.append, direct=direct)
    assert [each for each in told if each.startswith("round")] == [
        f"round {number} of 2: {name}" for number in (1, 2) for name in ("first", "second")
    ]
    assert {len(each.rounds) for each in found} == {2}
    figures = {name: {each.figure for each in found if each.subject == name} for name in ("first", "second")}
    assert figures["second"] == {"cpu_us", "requests_a_second", "resident_mb"}
    assert figures["first"] - figures["second"] == {"added_p50_ms", "added_p99_ms"}


def test_what_is_held_against_each_other_takes_more_turns() -> None:
    """Those that are measured often have further rounds among themselves; what a loop does not tell has as many as
    before."""
    with served_upstream() as server, on_core(SUBJECT_CORE, ["sleep", "60"]) as idle:
        direct = a_call(f"{server}/open", tokens=())
        once = Subject(name="once", setup="", pid=idle.pid, ask=lambda: direct, answer="", rate=0)
        often = [replace(once, name=name, often=True) for name in ("one", "other")]
        told: list[str] = []
        rounds = Rounds(count=1, closed=1, open=0, more=2)
        found = in_turn("made up", [often[0], once, often[1]], rounds, told.append, direct=direct)
    assert told[3:] == [f"further round {number} of 2: {name}" for number in (1, 2) for name in ("one", "other")]
    counts = {(each.subject, each.figure): len(each.rounds) for each in found}
    assert {counts[name, "cpu_us"] for name in ("one", "other")} == {3}
    assert {counts["once", "cpu_us"], counts["one", "resident_mb"]} == {1}


def test_a_loop_with_few_answers_is_run_again_and_longer() -> None:
    """A slow subject's CPU is not read off a loop in which most requests were still in flight at the end."""

    class Slow(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            time.sleep(0.5)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ask = Ask(url=f"http://{LOOPBACK}:{server.server_address[1]}/", body=b"{}")
    told: list[str] = []
    try:
        subject = Subject(name="slow", setup="", pid=os.getpid(), ask=lambda: ask, answer="", rate=0, connections=4)
        in_turn("made up", [subject], Rounds(count=1, closed=1, open=0), told.append, direct=ask)
    finally:
        server.shutdown()
        server.server_close()
    assert len(told) == 2
    assert told[1].endswith("again, 4 times as long")
