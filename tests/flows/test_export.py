"""The journal for other programs: by command, and by a server that was killed in between."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import httpx2

from tests.support.commands import clean_environment, perhop, ports_of
from tests.support.installations import PERHOP
from tests.support.processes import LOOPBACK, answers, started
from tests.unit.journal.test_export_ocsf import complaints

PATIENCE_SECONDS = 30.0


def _issue(folder: Path) -> None:
    assert perhop("token", "issue", "--client", "planner", "--resource", "calendar", folder=folder).code == 0


def _seqs(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_command_prints_appends_and_goes_on(folder: Path) -> None:
    """All records or those from one on, as they are or as events; with a cursor, what is new since the last time."""
    _issue(folder)
    lines = perhop("journal", "export", folder=folder).out.splitlines()
    assert lines == [
        json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":"), sort_keys=True) for line in lines
    ]
    events = [
        json.loads(line) for line in perhop("journal", "export", "--format", "ocsf", folder=folder).out.splitlines()
    ]
    assert [event["metadata"]["sequence"] for event in events] == list(range(1, len(lines) + 1))
    assert [complaints(event) for event in events] == [[] for _ in events]
    words = ("journal", "export", "--to", "out.jsonl", "--cursor", "cursor")
    assert perhop(*words, folder=folder).code == 0
    _issue(folder)
    assert perhop(*words, folder=folder).out == ""
    assert _seqs(folder / "out.jsonl") == list(range(1, len(lines) + 2))
    (last,) = perhop("journal", "export", "--first", str(len(lines) + 1), folder=folder).out.splitlines()
    assert json.loads(last)["seq"] == len(lines) + 1
    assert perhop("journal", "export", "--format", "cef", folder=folder).code == 2
    assert perhop("journal", "export", "--cursor", "cursor", "--first", "2", folder=folder).code == 2


def test_the_command_writes_into_nothing_of_ours(folder: Path) -> None:
    """The journal, the database and a key are refused by name, and a file of somebody else stays as it was."""
    (folder / "notes.json").write_text('{"keep":"me"}', encoding="utf-8")
    for name, said in (
        ("journal.db", "is the journal"),
        ("perhop.db", "is the database"),
        ("keys/more.jsonl", "is in the folder"),
        ("notes.json", "holds something else"),
    ):
        ran = perhop("journal", "export", "--to", name, folder=folder)
        assert ran.code != 0, name
        assert said in " ".join(ran.err.split()), ran.err
    assert (folder / "notes.json").read_text(encoding="utf-8") == '{"keep":"me"}'
    assert perhop("journal", "verify", folder=folder).code == 0


def test_a_server_that_is_killed_goes_on_where_its_export_ended(folder: Path) -> None:
    """After kill -9 and a new start every record is in the file; `/readyz` says how many wait."""
    configuration = folder / "perhop.yaml"
    export = "exports: {siem: {format: json, to: siem.jsonl}}\n"
    configuration.write_text(export + configuration.read_text(encoding="utf-8"), encoding="utf-8")
    traffic, ops = ports_of(folder)
    serving = subprocess.Popen([PERHOP, "serve"], cwd=folder, stderr=subprocess.DEVNULL, env=clean_environment())
    try:
        _await(lambda: answers(traffic))
        for _ in range(20):
            _issue(folder)
    finally:
        serving.send_signal(signal.SIGKILL)
        serving.wait(20)
    with started([PERHOP, "serve"], ports=[traffic, ops], folder=folder):
        _issue(folder)
        size = len(perhop("journal", "query", "--json", folder=folder).out.splitlines())
        _await(lambda: (folder / "siem.jsonl").exists() and max(_seqs(folder / "siem.jsonl")) >= size)
        exports = httpx2.get(f"http://{LOOPBACK}:{ops}/readyz", timeout=10).json()["exports"]
        assert exports["siem"]["problem"] == ""
    exported = _seqs(folder / "siem.jsonl")
    records = len(perhop("journal", "query", "--json", folder=folder).out.splitlines())
    # What the kill left unnoted comes again as a whole, so only the first of each is in order.
    assert list(dict.fromkeys(exported)) == list(range(1, records + 1))


def _await(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
