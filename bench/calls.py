"""What one call makes the gateway do: `python -m bench.calls [RESOURCE] [ERA] [TOKENS] [SECONDS]`. Run by hand.

Counts of calls a request are exact and do not depend on what else the machine does; times are the profiler's own and
say only what is heavy. Of threads, only the event loop's is seen. Prints the most called, the heaviest by themselves
and the heaviest with all that they call.
"""

from __future__ import annotations

import os
import pstats
import signal
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path

import bench.installation as installation
from bench.load import closed_loop

ROWS = 60


def main(resource: str, era: str, tokens: int, seconds: float) -> None:
    """Warm up, then count."""
    with tempfile.TemporaryDirectory(prefix="perhop-bench-") as folder, installation.served_upstream() as server:
        file = Path(folder) / "profile"
        command = [sys.executable, str(Path(__file__).with_name("profiled_serve.py")), str(file)]
        more = os.environ.get("BENCH_MORE", "").replace("\\n", "\n")
        with installation.loaded(Path(folder) / "perhop", server, serve=command, more=more) as loaded:
            ask = loaded.asks(resource, tokens=loaded.tokens(resource, tokens), era=era)
            closed_loop(ask, loaded.pid, seconds=2)
            os.kill(loaded.pid, signal.SIGUSR2)
            found = closed_loop(ask, loaded.pid, seconds=seconds)
            os.kill(loaded.pid, signal.SIGUSR2)
            deadline = time.monotonic() + 20
            while not file.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.5)
            _show(pstats.Stats(str(file)), found.requests)


def _show(stats: pstats.Stats, requests: int) -> None:
    rows: list[tuple[int, float, float, str]] = [
        (calls, own, whole, f"{_short(where)}:{line} {name}")
        for (where, line, name), (calls, _, own, whole, _) in stats.stats.items()  # type: ignore[attr-defined]
    ]
    total = sum(row[0] for row in rows) / requests
    handles = sum(row[0] for row in rows if row[3].endswith("'run' of '_contextvars.Context' objects>")) / requests
    sys.stdout.write(
        f"{requests} requests, {total:.0f} calls of functions a request, {handles:.1f} turns of the loop\n"
    )
    by_calls, by_own, by_whole = (sorted(rows, key=itemgetter(column), reverse=True) for column in range(3))
    shown = {"most called": by_calls, "heaviest by themselves": by_own, "heaviest with what they call": by_whole}
    for title, ordered in shown.items():
        sys.stdout.write(f"\n{title}: calls, us by itself, us with all, a request\n")
        for row in ordered[:ROWS]:
            calls, own, whole = row[0] / requests, 1e6 * row[1] / requests, 1e6 * row[2] / requests
            sys.stdout.write(f"{calls:8.2f} {own:9.1f} {whole:9.1f}  {row[3]}\n")


def _short(where: str) -> str:
    for marker in ("/site-packages/", "/src/", "/lib/python3.11/"):
        if marker in where:
            return where.rpartition(marker)[2]
    return where


if __name__ == "__main__":
    words = sys.argv[1:]
    main(
        words[0] if words else "work",
        words[1] if len(words) > 1 else installation.MODERN,
        int(words[2]) if len(words) > 2 else 1,
        float(words[3]) if len(words) > 3 else 4.0,
    )
