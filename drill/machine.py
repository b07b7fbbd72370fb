"""What the figures were measured on, and how they are told."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def machine() -> str:
    """CPU, Python, SQLite and load, as of now."""
    system = f"{platform.system()} {platform.release()}"
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{_cpu()}, {os.cpu_count()} CPUs, {system}, {versions}, load {os.getloadavg()[0]:.1f}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


@dataclass(slots=True)
class Lap:
    """How long a block took, once it is over."""

    seconds: float = 0.0


@contextmanager
def lap() -> Iterator[Lap]:
    """Measure the block."""
    measured = Lap()
    began = time.perf_counter()
    yield measured
    measured.seconds = time.perf_counter() - began


def say(text: str) -> None:
    """A result: stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def heading(text: str) -> None:
    """What the next lines are about."""
    say(f"\n{text}\n{'-' * len(text)}")


def tell(text: str) -> None:
    """Progress: stderr."""
    sys.stderr.write(f"drill: {text}\n")
    sys.stderr.flush()
