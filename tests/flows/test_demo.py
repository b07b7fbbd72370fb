"""`perhop demo`: the whole way once, every attack, and a folder in which every command runs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import clean_environment, perhop
from tests.support.installations import PERHOP
from tests.support.leaks.scan import THE_SCAN
from tests.unit.journal.test_export_ocsf import complaints

ATTACKS = {
    "other-audience-at-gateway": "gateway",
    "other-audience-at-server": "server",
    "behind-the-gateway": "server",
    "two-audiences": "sts",
    "alg-none": "gateway",
    "hs256-public-key": "gateway",
    "inbound-replayed-upstream": "gateway",
    "no-hop": "sts",
    "not-the-presenter": "sts",
    "header-body-mismatch": "gateway",
    "foreign-session": "gateway",
    "revoked-parent-live-child": "gateway",
    "journal-tampered": "journal",
    "call-token-twice": "server",
    "call-token-other-arguments": "server",
}
MEMBERS = {"id", "title", "at", "expected", "observed", "reason", "ok"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One demo that has ended, its files kept, and one that goes on."""

    folder: Path
    report: dict[str, Any]
    table: str
    kept: subprocess.Popen[str]
    kept_folder: Path


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Both demos, side by side."""
    folder, kept_folder = (tmp_path_factory.mktemp("demo") / "data" for _ in range(2))
    with subprocess.Popen(
        [PERHOP, "demo", "--keep", "--data", str(kept_folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean_environment(), "PYTHONUNBUFFERED": "1"},
    ) as kept:
        try:
            done = subprocess.run(
                [PERHOP, "demo", "--json", "--data", str(folder)],
                capture_output=True,
                text=True,
                timeout=120,
                env=clean_environment(),
            )
            assert done.returncode == 0, done.stderr
            assert kept.stdout is not None
            table = "".join(iter(kept.stdout.readline, "all as expected\n"))
            THE_SCAN.show_output(["perhop", "demo"], table, None)
            yield Shown(folder, json.loads(done.stdout), table, kept, kept_folder)
        finally:
            kept.kill()
            kept.communicate()


def test_everything_is_as_expected(shown: Shown) -> None:
    """Every step and every attack, and the journal holds together."""
    report = shown.report
    assert set(report) == {"steps", "attacks", "hops", "journal", "ok"}
    outcomes = [*report["steps"], *report["attacks"]]
    assert [each["id"] for each in outcomes if not each["ok"]] == []
    assert {frozenset(each) for each in outcomes} == {frozenset(MEMBERS)}
    assert report["ok"] is True
    assert report["journal"]["verified"] is True
    assert report["journal"]["records"] > 0


def test_the_attacks_are_exactly_these(shown: Shown) -> None:
    """Each is tried once, where it belongs, and is refused as expected."""
    attacks = shown.report["attacks"]
    assert {each["id"]: each["at"] for each in attacks} == ATTACKS
    assert len(attacks) == len(ATTACKS)
    assert all(each["observed"] == each["expected"] for each in attacks)


def test_four_tokens_have_four_audiences(shown: Shown) -> None:
    """The agent's, the gateway's, the server's, and the gateway's again, in one transaction."""
    hops = shown.report["hops"]
    assert {frozenset(hop) for hop in hops} == {frozenset({"txn", "hop", "aud", "sub", "act", "jti"})}
    assert len({hop["txn"] for hop in hops}) == 1
    assert len({hop["aud"] for hop in hops if hop["hop"] in (1, 2, 3, 4)}) == 4
    assert {hop["sub"] for hop in hops} == {"trip-planner"}


def test_people_see_the_tree_and_the_table(shown: Shown) -> None:
    """Without `--json` every attack has a line, with what was expected and what was seen; every call has its end."""
    lines = {line.split()[1]: line for line in shown.table.splitlines() if line.startswith(("ok", "WRONG"))}
    assert set(ATTACKS) <= set(lines)
    assert lines["not-the-presenter"].split()[2:] == [
        *("sts", "400", "invalid_request"),
        *("400", "invalid_request", "presenter.mismatch"),
    ]
    assert "└── hop 1: good for" in shown.table
    assert "unfinished" not in shown.table


def test_a_kept_demo_answers_commands_until_it_is_stopped(shown: Shown) -> None:
    """It says where it runs; commands reach it; a signal ends it with exit code 0."""
    assert shown.kept.stderr is not None
    while "Look around" not in (line := shown.kept.stderr.readline()):
        assert line, "the demo ended"
    config = line.split("--config ")[1].strip()
    assert perhop("journal", "verify", "--config", config, folder=shown.folder).code == 0
    issue = ("token", "issue", "--client", "trip-planner", "--resource", "calendar")
    assert perhop(*issue, "--config", config, folder=shown.folder).code == 0
    shown.kept.send_signal(signal.SIGTERM)
    assert shown.kept.wait(timeout=30) == 0


def test_the_journal_verifies_and_names_a_changed_record(shown: Shown, tmp_path: Path) -> None:
    """`perhop journal verify` passes in the folder, and names the record of which one byte is changed."""
    folder = shutil.copytree(shown.folder, tmp_path / "copy")
    verified = perhop("journal", "verify", "--json", folder=folder)
    assert (verified.code, verified.json["records"]) == (0, shown.report["journal"]["records"])
    body = json.loads(perhop("journal", "prove", "7", folder=folder).out)["record"].encode()
    octets = (folder / "journal.db").read_bytes()
    assert octets.count(body) == 1
    (folder / "journal.db").write_bytes(octets.replace(body, body.replace(b'"seq":7', b'"seq":8')))
    changed = perhop("journal", "verify", "--json", folder=folder)
    assert (changed.code, changed.json["ok"], changed.json["first_bad"]) == (7, False, 7)


def test_every_command_runs_in_the_folder(shown: Shown, tmp_path: Path) -> None:
    """The folder is laid out as by `perhop init`, which finds nothing missing."""
    folder = shutil.copytree(shown.folder, tmp_path / "copy")
    assert perhop("init", "--json", folder=folder).json["made"] == []
    jti = shown.report["hops"][0]["jti"]
    asked = ("--agent", "trip-planner", "--resource", "calendar", "--tool", "plan_meeting")
    for words in (
        *(("config", "check"), ("config", "show"), ("doctor",), ("policy", "check"), ("policy", "explain", *asked)),
        *(("account", "add", "ann@example.com"), ("account", "list"), ("account", "disable", "ann@example.com")),
        *((kind, "list") for kind in ("client", "resource", "owner", "key")),
        *(("client", verb, "second-planner") for verb in ("disable", "enable")),
        ("token", "issue", "--client", "trip-planner", "--resource", "calendar"),
        *(("journal", "tail"), ("journal", "query", "--jti", jti), ("journal", "prove", "1"), ("trace", jti)),
        *(("revoke", "--token", jti), ("key", "rotate"), ("journal", "verify")),
    ):
        ran = perhop(*words, folder=folder)
        assert ran.code == 0, (words, ran.err)
        assert ran.out
    used = {row["id"] for row in perhop("client", "list", "--json", folder=folder).json if row["last_used"]}
    assert {"trip-planner", "calendar-server"} <= used
    assert "rooms-server" not in used


def test_its_journal_is_taken_as_ocsf(shown: Shown) -> None:
    """Every record of the agent's work and of the attacks becomes an event that the schema takes; alerts are told."""
    lines = perhop("journal", "export", "--format", "ocsf", folder=shown.folder).out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [complaints(event) for event in events] == [[] for _ in events]
    assert "audience.mismatch" in {event["finding_info"]["types"][0] for event in events if event["class_uid"] == 2004}


def test_a_folder_that_is_in_use_is_left_alone(shown: Shown) -> None:
    """The demo makes an installation, and never works on yours."""
    before = (shown.folder / "perhop.yaml").read_bytes()
    ran = perhop("demo", "--data", str(shown.folder), folder=shown.folder)
    assert ran.code == 1
    assert "holds an installation" in ran.err
    assert (shown.folder / "perhop.yaml").read_bytes() == before
