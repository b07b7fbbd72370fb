"""The journal: how fast it takes records, how fast it is verified, and how long questions take of a long past.

A record is on disk when its append returns. Appends are those of 32 waiting callers in one process, beside SQLite with
one durable commit for each row and beside SQLite with a hundred rows a commit, on the same disk, in the same rounds:
what bodies of this size cost in such a file, without anything that makes a journal of them.

Each question is asked by a process of its own, twice, and each time the file is opened anew: `cold` after the kernel
was told to forget the file's pages, `warm` right after. Not counted: the time that the command `perhop` takes to start.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.installation import on_disk
from bench.load import percentile
from bench.long_journal import BUSY_TOKEN, long_journal
from bench.measured import Measured, Size, in_rounds
from bench.processes import SUBJECT_CORE, pinned
from perhop.journal.blast_radius import blast_radius, token_and_descendants
from perhop.journal.canonical import draft
from perhop.journal.investigate import trace
from perhop.journal.tally import Asked, Selection
from perhop.storage.journal_tally import JournalTallies
from tests.support.busy_journals import AGENTS, BEGINNING, RESOURCES
from tests.support.journals import a_permit, make_journal

NAME = "journal"
WAITING = 32
RECORDS = {Size.QUICK: 50_000, Size.FULL: 10_000_000}
VERIFIED = {Size.QUICK: 50_000, Size.FULL: 100_000}
ROUNDS = {Size.QUICK: 1, Size.FULL: 5}
APPEND_SECONDS = {Size.QUICK: 0.5, Size.FULL: 2.0}

APPENDERS = {
    "perhop, 32 callers wait": f"records of a permit each, {WAITING} callers that wait for theirs; one process",
    "sqlite, a commit a row": "the same bodies, WAL, synchronous=FULL, one thread, one row a transaction",
    "sqlite, a commit a hundred": "the same, a hundred rows a transaction",
}
QUESTIONS = {
    "trace, a token": "every call made with one token out of the middle",
    "trace, a busy token": "the same of a token with 5,000 calls",
    "blast-radius, a token": "the busy token",
    "blast-radius, an agent": "the agent that made more than a third of all records",
    "blast-radius, a person": "one person of five hundred",
    "blast-radius, a resource": "one resource of ten",
}


def measure(size: Size, tell: Callable[[str], None]) -> list[Measured]:
    """Appends and questions in rounds; the journal that is asked is made first, unless one is kept."""
    found: list[Measured] = []
    appended: dict[str, list[dict[str, float]]] = {subject: [] for subject in APPENDERS}
    for number in range(ROUNDS[size]):
        tell(f"appends, round {number + 1} of {ROUNDS[size]}")
        for subject, rounds in appended.items():
            rounds.append(_in_a_process("append", subject, str(APPEND_SECONDS[size])))
    for subject, rounds in appended.items():
        found += in_rounds(NAME, subject, APPENDERS[subject], rounds)
    found += _verification(VERIFIED[size], 1 if size is Size.QUICK else 3, tell)
    kept = long_journal(RECORDS[size], tell=tell).path
    asked: dict[str, list[dict[str, float]]] = {f"{each}, {how}": [] for each in QUESTIONS for how in ("cold", "warm")}
    for number in range(ROUNDS[size]):
        tell(f"questions, round {number + 1} of {ROUNDS[size]}")
        for question in QUESTIONS:
            for how, seconds in _in_a_process("ask", question, str(kept)).items():
                asked[f"{question}, {how}"].append({"seconds": seconds})
    for subject, rounds in asked.items():
        setup = f"{QUESTIONS[subject.rpartition(',')[0]]}; of {RECORDS[size]:,} records, page cache {subject[-4:]}"
        found += in_rounds(NAME, subject, setup, rounds)
    return found


def _verification(records: int, rounds: int, tell: Callable[[str], None]) -> list[Measured]:
    journal = long_journal(records, tell=tell)
    tell("verification")
    seen = []
    for _ in range(rounds):
        began = time.perf_counter()
        verified = journal.verify()
        seconds = time.perf_counter() - began
        if not verified.ok:
            raise AssertionError(f"the journal that was made does not verify: {verified.problem}")
        seen.append({"records_a_second": verified.records / seconds})
    setup = f"every body, leaf, facet, index and checkpoint of {records:,} records, one process"
    return in_rounds(NAME, "perhop, verification", setup, seen)


def forget_pages(path: Path) -> None:
    """Ask the kernel to drop a file's pages from its cache. It may keep those that others have mapped."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(opened)


def _in_a_process(*words: str) -> dict[str, float]:
    command = [*pinned(SUBJECT_CORE), sys.executable, "-m", "bench.scenarios.journal", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    pairs = (word.split("=") for word in done.stdout.split())
    return {name: float(value) for name, value in pairs}


def _append(subject: str, seconds: float) -> dict[str, float]:
    with on_disk() as scratch:
        match subject.rpartition(" ")[2]:
            case "wait":
                return asyncio.run(_append_to_journal(Path(scratch), seconds))
            case "row":
                return _insert(Path(scratch), seconds, of_a_commit=1)
            case _:
                return _insert(Path(scratch), seconds, of_a_commit=100)


async def _append_to_journal(folder: Path, seconds: float) -> dict[str, float]:
    """Every caller appends its next record when its last is on disk."""
    took: list[float] = []
    async with make_journal(folder).writing() as journal:
        end = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            before = time.perf_counter()
            while before < end:
                await journal.append(a_permit(number))
                after = time.perf_counter()
                took.append(after - before)
                before = after

        began = time.perf_counter()
        await asyncio.gather(*map(caller, range(WAITING)))
        elapsed = time.perf_counter() - began
    return {
        "records_a_second": len(took) / elapsed,
        "ack_p50_ms": 1e3 * percentile(took, 0.5),
        "ack_p99_ms": 1e3 * percentile(took, 0.99),
    }


def _insert(folder: Path, seconds: float, *, of_a_commit: int) -> dict[str, float]:
    body = draft(a_permit(), time=BEGINNING).body(1)
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE record (body TEXT)"):
        connection.execute(statement)
    took: list[float] = []
    began = before = time.perf_counter()
    while before < began + seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO record VALUES (?)", [(body,)] * of_a_commit)
        connection.execute("COMMIT")
        after = time.perf_counter()
        took.append(after - before)
        before = after
    connection.close()
    return {
        "records_a_second": of_a_commit * len(took) / (before - began),
        "ack_p50_ms": 1e3 * percentile(took, 0.5),
        "ack_p99_ms": 1e3 * percentile(took, 0.99),
    }


def _ask(question: str, path: Path) -> dict[str, float]:
    token = BUSY_TOKEN if question.endswith("a busy token") or "radius" in question else _some_token(path)
    seconds = {}
    forget_pages(path)
    for how in ("cold", "warm"):
        began = time.perf_counter()
        with JournalTallies(path) as reader:
            _answer(question, reader, token)
        seconds[how] = time.perf_counter() - began
    return seconds


def _answer(question: str, reader: JournalTallies, token: str) -> None:
    match question.rpartition(" ")[2] if "radius" in question else "trace":
        case "trace":
            calls = sum(len(hop.calls) for hop in trace(reader, token).hops)
        case "token":
            calls = _radius(reader, Asked.TOKEN, *token_and_descendants(reader, token))
        case "agent":
            calls = _radius(reader, Asked.AGENT, AGENTS[0])
        case "person":
            calls = _radius(reader, Asked.SUBJECT, "user:7")
        case _:
            uri = f"https://{RESOURCES[0]}.example.com/mcp"
            calls = _radius(reader, Asked.RESOURCE, RESOURCES[0], uri, f"{uri}/upstream")
    if not calls:
        raise AssertionError(f"`{question}` found nothing")


def _radius(reader: JournalTallies, kind: Asked, *values: str) -> int:
    found = blast_radius(reader, Selection(kind=kind, values=values), (), asked={})
    return sum(each.count for each in found.did)


def _some_token(path: Path) -> str:
    with JournalTallies(path) as reader:
        record = reader.record(reader.size() // 3)
        assert record is not None
        return str((record.part("in") or record.part("out"))["jti"])


if __name__ == "__main__":
    _, task, named, *more = sys.argv
    figures = _append(named, float(more[0])) if task == "append" else _ask(named, Path(more[0]))
    sys.stdout.write(" ".join(f"{figure}={value!r}" for figure, value in figures.items()))
