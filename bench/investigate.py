"""How long an investigation takes in a big journal: `python -m bench.investigate [RECORDS] [FOLDER]`. Run by hand.

Makes a journal (1,000,000 records unless told; the longest part), or takes the one that is in FOLDER, and asks it.
Each question is asked by a process of its own, as a command would; the times are those of the questions alone.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from perhop.journal.blast_radius import blast_radius, rests_on, token_and_descendants
from perhop.journal.investigate import trace
from perhop.journal.query import Filter
from perhop.journal.tally import Asked, Selection
from perhop.storage.journal_tally import JournalTallies
from tests.support.busy_journals import AGENTS, BEGINNING, RESOURCES, fill
from tests.support.journals import make_journal

RECORDS = 1_000_000
QUESTIONS = ("trace", "token", "agent", "subject", "resource", "habit", "refusals")


def ask(question: str, path: Path) -> str:
    """Ask one question, and say what came of it."""
    with JournalTallies(path) as reader:
        middle = reader.record(max(1, reader.size() // 2))
        assert middle is not None
        jti = str((middle.part("in") or middle.part("out"))["jti"])
        began = time.perf_counter()
        found = _ask(question, reader, jti)
        return f"{time.perf_counter() - began:8.3f} s   {question:<10} {found}"


def _ask(question: str, reader: JournalTallies, jti: str) -> str:
    match question:
        case "trace":
            return f"{len(trace(reader, jti).hops)} tokens"
        case "token":
            return _radius(reader, Asked.TOKEN, *token_and_descendants(reader, jti))
        case "agent":
            return _radius(reader, Asked.AGENT, AGENTS[0])
        case "subject":
            return _radius(reader, Asked.SUBJECT, "user:7")
        case "resource":
            uri = f"https://{RESOURCES[0]}.example.com/mcp"
            return _radius(reader, Asked.RESOURCE, RESOURCES[0], uri, f"{uri}/upstream")
        case "habit":
            start = int(BEGINNING * 1_000_000)
            hours = reader.hourly_networks(AGENTS[0], since=start, until=2**62)
            people = reader.hourly_subjects(AGENTS[0], since=start, until=2**62)
            return f"{len(hours)} and {len(people)} hours"
        case _:
            return f"{sum(1 for _ in reader.find(Filter(reason='audience.mismatch', client=AGENTS[0])))} records"


def _radius(reader: JournalTallies, kind: Asked, *values: str) -> str:
    found = blast_radius(reader, Selection(kind=kind, values=values), (), asked={})
    calls = sum(each.count for each in found.did)
    return f"{calls} calls in {len(found.did)} rows, {sum(each.count for each in found.refused)} refused"


def main(records: int, folder: Path) -> None:
    """Make the journal if it is not there, and print a line a question."""
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()},")
    sys.stdout.write(f" SQLite {sqlite3.sqlite_version}, load {os.getloadavg()[0]:.1f}\n")
    if not (folder / "journal.db").exists():
        made = fill(make_journal(folder), records, seed=1, timer=time.perf_counter)
        sys.stdout.write(f"{made.records} records written, {made.records / made.seconds:.0f} a second in commits\n")
    with JournalTallies(folder / "journal.db") as reader:
        size = (folder / "journal.db").stat().st_size
        sys.stdout.write(f"{rests_on(reader).records} records, {size / 1e6:.0f} MB\n")
    for question in QUESTIONS:
        words = [sys.executable, "-m", "bench.investigate", "--ask", question, str(folder / "journal.db")]
        sys.stdout.write(subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout)
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        sys.stdout.write(ask(sys.argv[2], Path(sys.argv[3])) + "\n")
    else:
        wanted = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
        with tempfile.TemporaryDirectory() as made_here:
            main(wanted, Path(sys.argv[2]) if len(sys.argv) > 2 else Path(made_here))
