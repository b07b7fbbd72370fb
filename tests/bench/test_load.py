"""The load and the process table tell what happened, and not what would look well."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.load import Ask, LoadFailed, open_loop, percentile, rendered
from bench.processes import cpu_seconds
from tests.support.processes import LOOPBACK, started

STALL = 0.4
GOOD, BAD = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 Service Unavailable\r\n"


@contextmanager
def a_server(head: bytes, *, stall: float = 0.0) -> Iterator[str]:
    """One connection at a time; the first answer comes after `stall` seconds, the others at once."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, head, stall))
        thread.start()
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
    thread.join()


def _answer(listener: socket.socket, head: bytes, stall: float) -> None:
    connection, _ = listener.accept()
    with connection:
        while connection.recv(65536):
            time.sleep(stall)
            stall = 0.0
            connection.sendall(head + b"content-length: 2\r\n\r\nok")


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    """Behind a stalled answer every later request is late, and none of them looks fast."""
    with a_server(GOOD, stall=STALL) as url:
        latencies = open_loop(Ask(url=url, body=b"{}"), rate=100, seconds=0.2, connections=1)
    assert len(latencies) == 20
    assert min(latencies) >= STALL - 0.2
    assert percentile(latencies, 0.99) >= STALL


def test_an_answer_that_is_an_error_fails_the_open_loop() -> None:
    """A server that refuses quickly is not measured as a quick one."""
    with a_server(BAD) as url, pytest.raises(LoadFailed, match="answered 503"):
        open_loop(Ask(url=url, body=b"{}"), rate=100, seconds=0.01, connections=1)


def test_every_token_is_a_request_of_its_own() -> None:
    """Each value makes a request that differs from the others in its `authorization` alone."""
    one, two = rendered(Ask(url="http://host/path?q=1", body=b"{}", values=["Bearer a", "Bearer b"]))
    assert one.startswith(b"POST /path?q=1 HTTP/1.1\r\nhost: host\r\n")
    assert one.endswith(b"\r\n\r\n{}")
    assert one.replace(b"Bearer a", b"Bearer b") == two != one


_BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
_PARENT = """\
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {burn!r} + {after!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.read(1)
if {wait}:
    child.communicate()
pathlib.Path({done!r}).touch()
sys.stdin.read()
import threading; threading.Event().wait()
"""


@pytest.mark.parametrize("wait", [False, True], ids=["one that runs", "one that has ended"])
def test_cpu_time_is_that_of_children_as_well(tmp_path: Path, wait: bool) -> None:
    """What a child has burnt counts for the process that started it, while the child runs and afterwards."""
    done = tmp_path / "done"
    after = "print('x', flush=True)\nimport sys; sys.stdin.read()"
    program = _PARENT.format(burn=_BURN, after=after, wait=wait, done=str(done))
    with started([sys.executable, "-c", program]) as parent:
        while not done.exists():
            assert parent.process.poll() is None, parent.output()
            time.sleep(0.02)
        assert cpu_seconds(parent.pid) >= 0.28
