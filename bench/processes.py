"""Processes that are measured: each pinned to a core, its CPU time read from the process table.

Subjects run on SUBJECT_CORE; the load and the servers behind run on LOAD_CORE, so that a subject's core is its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Running, started

SUBJECT_CORE, LOAD_CORE = 0, 1

_TICK = os.sysconf("SC_CLK_TCK")


@contextmanager
def on_core(
    core: int,
    command: Sequence[str | Path],
    *,
    ports: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    within: float = 60.0,
) -> Iterator[Running]:
    """Run a command on one core until the block ends; inside the block it answers on its ports."""
    words = (*pinned(core), *command)
    with started(words, ports=ports, environment=environment, folder=folder, within=within) as running:
        yield running


def pinned(core: int) -> tuple[str, ...]:
    """What to write before a command, so that it stays on a core. Raises: RuntimeError where that is not possible."""
    if (os.cpu_count() or 1) <= core or shutil.which("taskset") is None:
        raise RuntimeError("the benchmarks want two cores, and `taskset` (Debian's util-linux)")
    return ("taskset", "-c", str(core))


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, that a process and everything it started have taken so far, all threads included.

    Counted in ticks of the kernel (1/100 s as a rule): measure for a second or more.
    """
    total = 0.0
    for each in (pid, *_descendants(pid)):
        try:
            fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        # utime, stime, and what children that were waited for have taken.
        total += sum(int(fields[number]) for number in (11, 12, 13, 14)) / _TICK
    return total


def resident_bytes(pid: int) -> int:
    """Memory that a process and everything it started hold now; shared pages are counted in each."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for each in (pid, *_descendants(pid)):
        try:
            total += int(Path(f"/proc/{each}/statm").read_text(encoding="utf-8").split()[1]) * page
        except OSError:
            continue
    return total


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text(encoding="utf-8").split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found
