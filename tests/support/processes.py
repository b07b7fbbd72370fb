"""Real processes for tests: started on free loopback ports, awaited, and ended with everything they started.

A process runs in a session of its own, so that ending it ends its children too. Its output goes to a file, whose tail
is in the error when it does not come up.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.leaks.scan import THE_SCAN

LOOPBACK = "127.0.0.1"
_OF_A_WORKER = 3_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_FIRST = 20_000 + _OF_A_WORKER * _WORKER
_BEGIN = _FIRST + secrets.randbelow(_OF_A_WORKER)
_PORTS = itertools.cycle((*range(_BEGIN, _FIRST + _OF_A_WORKER), *range(_FIRST, _BEGIN)))
"""One after the other, each worker of xdist's its own: what one test was told is free, no other is told soon."""

_PAUSE = 0.02
_GRACE = 5.0
_TAIL = 4000


class ProcessFailed(AssertionError):
    """A process did not come up, or ended while it was needed; the message holds the tail of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that answers on its ports."""

    command: tuple[str, ...]
    ports: tuple[int, ...]
    pid: int
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def ask_to_stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the process itself a signal."""
        self.process.send_signal(number)

    def exit_code(self, *, within: float) -> int:
        """Wait for its end; negative if a signal ended it."""
        return self.process.wait(timeout=within)

    def output(self) -> str:
        """What it has printed so far, stdout and stderr together."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def free_port() -> int:
    """A TCP port of the loopback interface on which nothing listens now."""
    return free_ports(1)[0]


def free_ports(count: int) -> tuple[int, ...]:
    """Distinct free loopback ports, below those that the system gives to whoever connects: these stay free."""
    probes: list[socket.socket] = []
    try:
        while len(probes) < count:
            probe = socket.socket()
            try:
                probe.bind((LOOPBACK, next(_PORTS)))
            except OSError:
                probe.close()
            else:
                probes.append(probe)
        return tuple(probe.getsockname()[1] for probe in probes)
    finally:
        for probe in probes:
            probe.close()


def answers(port: int) -> bool:
    """True if something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


@contextmanager
def started(
    command: Sequence[str | Path],
    *,
    ports: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    within: float = 30.0,
) -> Iterator[Running]:
    """Run a command until the block ends; inside the block it answers on all its ports.

    `environment` is added to ours. Raises: ProcessFailed when it ends early or does not answer in time.
    """
    words = tuple(str(word) for word in command)
    with tempfile.TemporaryDirectory(prefix="perhop-process-") as scratch:
        log = Path(scratch) / "output.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
            )
        watch = _end_with_us(process)
        try:
            _await_ports(process, words, ports, log, within)
            yield Running(command=words, ports=tuple(ports), pid=process.pid, log=log, process=process)
        finally:
            end_group(process)
            watch.kill()
            watch.communicate()
            _await_silence(ports)
            THE_SCAN.show_output(words, log.read_bytes(), b"")


@asynccontextmanager
async def started_beside(
    command: Sequence[str | Path],
    *,
    ports: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    within: float = 30.0,
) -> AsyncIterator[Running]:
    """As `started`, for async tests: the event loop stays free while the process comes up and goes down."""
    lifetime = started(command, ports=ports, environment=environment, folder=folder, within=within)
    running = await asyncio.to_thread(lifetime.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(lifetime.__exit__, None, None, None)


def is_running(pid: int) -> bool:
    """True while a process does; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def await_end_of(pids: Iterable[int], *, within: float = 10.0) -> None:
    """Return once none of these processes runs. Raises: ProcessFailed when one still does."""
    deadline = time.monotonic() + within
    while left := [pid for pid in pids if is_running(pid)]:
        if time.monotonic() > deadline:
            raise ProcessFailed(f"still running after {within:g} s: {left}")
        time.sleep(_PAUSE)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the process and its children to end, and after a grace period make them."""
    _signal_group(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE)
    # A leader that ended politely may leave children in its group: SIGKILL takes whoever is left.
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _end_with_us(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """A watch that ends the group if we are killed and run no `finally`: the pipe that it reads closes with us."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "watch", str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _await_ports(
    process: subprocess.Popen[bytes], words: tuple[str, ...], ports: Sequence[int], log: Path, within: float
) -> None:
    deadline = time.monotonic() + within
    waiting = list(ports)
    while waiting:
        if process.poll() is not None:
            raise ProcessFailed(f"`{words[0]}` ended with {process.returncode} before it answered\n{_tail(log)}")
        waiting = [port for port in waiting if not answers(port)]
        if waiting and time.monotonic() > deadline:
            raise ProcessFailed(f"`{words[0]}` did not answer on {waiting} within {within:g} s\n{_tail(log)}")
        if waiting:
            time.sleep(_PAUSE)


def _await_silence(ports: Sequence[int]) -> None:
    # A child that was not ours to wait for may take a moment to die; whoever comes next wants its port.
    deadline = time.monotonic() + _GRACE
    while any(answers(port) for port in ports) and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
