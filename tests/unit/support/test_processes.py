"""Processes that tests start come up, and leave nothing behind."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.processes import ProcessFailed, answers, free_port, started, started_beside

SERVER = "import socket,sys,signal; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); signal.pause()"
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
