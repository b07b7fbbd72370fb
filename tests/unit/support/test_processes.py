"""Processes that tests start come up, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.processes import ProcessFailed, answers, free_port, started, started_beside
from tests.support.sources import ROOT

SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""
PARENT = (
    "import subprocess,sys,signal; c = subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]);"
    "signal.signal(signal.SIGTERM, signal.SIG_DFL); signal.pause()"
)


async def test_a_process_answers_inside_the_block_and_not_after_it() -> None:
    """The port answers while the block runs and is free when it ends."""
    port = free_port()
    async with started_beside([sys.executable, "-c", SERVER, str(port)], ports=[port]):
        assert answers(port)
    assert not answers(port)


def test_children_of_the_process_end_with_it() -> None:
    """A server that the process started as its child is gone when the block ends."""
    port = free_port()
    with started([sys.executable, "-c", PARENT, str(port), SERVER], ports=[port]) as running:
        assert running.pid != os.getpid()
    assert not answers(port)


def test_a_process_does_not_outlive_a_test_run_that_is_killed() -> None:
    """When the one that started it is killed outright, the process ends too."""
    port = free_port()
    script = (
        "import os, signal, sys\n"
        "from tests.support.processes import started\n"
        "with started([sys.executable, '-c', sys.argv[2], sys.argv[1]], ports=[int(sys.argv[1])]):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(port), SERVER], cwd=ROOT, timeout=20, check=False)
    assert done.returncode == -signal.SIGKILL
    until = time.monotonic() + 5
    while answers(port) and time.monotonic() < until:
        time.sleep(0.01)
    assert not answers(port)


def test_a_process_that_ends_early_is_an_error_with_its_output() -> None:
    """What it printed before it ended is in the message."""
    command = [sys.executable, "-c", "print('no such file'); raise SystemExit(3)"]
    with pytest.raises(ProcessFailed, match=r"ended with 3(.|\n)*no such file"), started(command, ports=[free_port()]):
        pass


def test_a_process_that_never_answers_is_an_error() -> None:
    """After the time that it is given it counts as failed."""
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with pytest.raises(ProcessFailed, match="did not answer"), started(command, ports=[free_port()], within=0.3):
        pass
