"""What a responder hands to somebody outside: complete, proved, whole or not there, and checked with or without us."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perhop.control.investigation import investigating
from perhop.journal.bundle.contents import FILES, README, records_of
from perhop.journal.checkpoint import sign_checkpoint
from perhop.journal.keys import load_journal_key
from perhop.journal.record import Event, Record
from perhop.journal.tree import Frontier
from perhop.settings import load
from tests.support.archives import make_old_installation, write_old
from tests.support.bundles import parts_of, with_lines
from tests.support.commands import Ran, perhop
from tests.support.incidents import (
    LEAKED,
    MONDAY,
    STRANGER,
    TOKEN,
    Token,
    called,
    issued,
    ordinary_weeks,
    refused,
    tell,
    write,
)
from tests.support.installations import PERHOP
from tests.support.journals import JournalFolder
from tests.support.processes import free_ports, started

AFTERWARDS = MONDAY + 13 * 24 * 3600.0
CHILD = Token(jti="given-to-the-rooms", scope="rooms:read")


def _incident(folder: Path) -> None:
    """A stolen token from which another one came, of which a third came; then it is revoked, and tried again."""
    onward = issued(CHILD)._replace(inbound=TOKEN.inbound(), resource="rooms", hop=2)
    last = Token(jti="the-last-one")
    deeper = issued(last)._replace(inbound=CHILD.inbound(), resource="rooms", hop=3, txn=None)
    revoked = Record(
        event=Event.REVOCATION,
        reason="token.revoked",
        about={"kind": "agent", "value": "planner", "why": "leak", "by": "op", "tokens": [LEAKED]},
    )
    other = Record(event=Event.REVOCATION, about={"kind": "token", "value": "ordinary-3", "tokens": ["ordinary-3"]})
    steps = [issued(TOKEN), *called(TOKEN, 1, "list_events"), *called(TOKEN, 2, "delete_event", STRANGER), onward]
    steps += [deeper, refused(last, "audience.mismatch", STRANGER, at="payroll"), revoked, other]
    steps.append(refused(TOKEN, "token.revoked", STRANGER, tool="list_events"))
    story = [*ordinary_weeks(("list_events",)), *((AFTERWARDS + at, each) for at, each in enumerate(steps))]
    tell(story, folder)


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled") / "installation"
    _incident(folder)
    return folder


@pytest.fixture
def copied(incident: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(incident, tmp_path / "installation"))


def _bundled(folder: Path, file: Path) -> dict[str, bytes]:
    ran = perhop("incident", LEAKED, "--bundle", str(file), folder=folder)
    assert ran.code == 0, ran.err
    return parts_of(file)


def _verified(file: Path, folder: Path) -> Ran:
    return perhop("journal", "verify-bundle", str(file), "--public-key", "keys/journal.vkey", "--json", folder=folder)


def _records(parts: dict[str, bytes]) -> list[dict[str, Any]]:
    return [json.loads(json.loads(line)["record"]) for line in parts["records.jsonl"].splitlines()]


def test_a_bundle_has_the_report_and_every_record_behind_it(incident: Path, tmp_path: Path) -> None:
    """The token's records, its descendants' at any depth, what was revoked with it; nothing of other tokens."""
    parts = _bundled(incident, tmp_path / "bundle.zip")
    assert tuple(parts) == FILES
    for name, words in (("incident.json", ("incident", LEAKED)), ("trace.json", ("trace", LEAKED))):
        assert json.loads(parts[name]) == perhop(*words, "--json", folder=incident).json
    radius = perhop("blast-radius", "--token", LEAKED, "--json", folder=incident).json
    assert json.loads(parts["blast-radius.json"]) == radius
    assert parts["incident.html"].startswith(b"<!doctype html>")
    assert parts["journal.vkey"] == (incident / "keys/journal.vkey").read_bytes()
    assert parts["checkpoint"] == (incident / "journal.checkpoint").read_bytes()
    told = [(each["event"], each.get("in", each.get("out", {})).get("jti")) for each in _records(parts)]
    assert told == [
        ("token.issued", LEAKED),
        *[("call.permitted", LEAKED), ("call.ended", LEAKED)] * 2,
        ("token.issued", LEAKED),
        ("token.issued", CHILD.jti),
        ("call.refused", "the-last-one"),
        ("revocation", None),
        ("call.refused", LEAKED),
    ]


def test_it_verifies_in_an_empty_folder_with_the_public_key_alone(incident: Path, tmp_path: Path) -> None:
    """No configuration, no journal; what it says names the token, the journal's size and root, and the key."""
    parts = _bundled(incident, tmp_path / "bundle.zip")
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.move(tmp_path / "bundle.zip", bare / "bundle.zip")
    shutil.copy(incident / "keys/journal.vkey", bare / "theirs.vkey")
    ran = perhop("journal", "verify-bundle", "bundle.zip", "--public-key", "theirs.vkey", "--json", folder=bare)
    assert (ran.code, ran.err) == (0, "")
    size = parts["checkpoint"].decode().splitlines()[1]
    assert ran.json == {
        "ok": True,
        "token": LEAKED,
        "made": json.loads(parts["manifest.json"])["made"],
        "records": len(_records(parts)),
        "checkpoint": int(size),
        "root": ran.json["root"],
        "key": "given",
        "problem": "",
    }
    assert perhop("journal", "verify", "--json", folder=incident).json["root"] == ran.json["root"]
    assert sorted(each.name for each in bare.iterdir()) == ["bundle.zip", "theirs.vkey"]


def test_a_key_from_the_bundle_itself_is_said_to_be_one(incident: Path, tmp_path: Path) -> None:
    """It still checks everything, and says that this shows no origin."""
    _bundled(incident, tmp_path / "bundle.zip")
    ran = perhop("journal", "verify-bundle", "bundle.zip", folder=tmp_path)
    assert ran.code == 0
    assert ran.out.startswith(f"ok: 10 records about token {LEAKED}")
    assert "the key came from the bundle itself" in ran.err
    assert perhop("journal", "verify-bundle", "bundle.zip", "--json", folder=tmp_path).json["key"] == "bundle"


def test_each_proof_is_one_that_prove_checks(incident: Path, tmp_path: Path) -> None:
    """A line of the records is a proof document of its own."""
    parts = _bundled(incident, tmp_path / "bundle.zip")
    for line in parts["records.jsonl"].splitlines()[:2]:
        (tmp_path / "proof.json").write_bytes(line)
        words = ("prove", "--check", str(tmp_path / "proof.json"), "--public-key", "keys/journal.vkey")
        assert perhop("journal", *words, folder=incident).json["seq"] == json.loads(line)["seq"]


def _program(parts: dict[str, bytes]) -> str:
    found = re.search(r"---- begin program ----\n(.*)---- end program ----", parts[README].decode(), re.S)
    assert found is not None
    return found[1]


def _run_program(parts: dict[str, bytes], folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    words = [sys.executable, "-I", "-S", "-c", _program(parts)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def _changes(parts: dict[str, bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    yield "incident.html was changed", parts | {"incident.html": parts["incident.html"] + b" "}
    body = with_lines(parts, lambda proofs: proofs[3].update(record=proofs[3]["record"].replace("delete", "select")))
    yield "is not proved", _with_digest(body, "records.jsonl")
    size = int(parts["checkpoint"].splitlines()[1])
    larger = parts["checkpoint"].replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1))
    yield "checkpoint", _with_digest(parts | {"checkpoint": larger}, "checkpoint")
    key = parts["journal.vkey"].replace(b"+", b"x+", 1)
    yield "journal.vkey was changed", _with_digest(parts | {"journal.vkey": key}, "journal.vkey")


def _with_digest(parts: dict[str, bytes], name: str) -> dict[str, bytes]:
    manifest = json.loads(parts["manifest.json"])
    manifest["files"][name] = hashlib.sha256(parts[name]).hexdigest()
    return parts | {"manifest.json": json.dumps(manifest).encode()}


def test_the_program_of_its_readme_checks_it_without_us(incident: Path, tmp_path: Path) -> None:
    """Python alone, without one of our modules, accepts the bundle and refuses what was changed in it."""
    parts = _bundled(incident, tmp_path / "bundle.zip")
    done = _run_program(parts, tmp_path / "unpacked")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"ok: {LEAKED} under ")
    for number, (problem, changed) in enumerate(_changes(parts)):
        done = _run_program(changed, tmp_path / f"changed-{number}")
        assert done.returncode != 0, problem
        assert problem in done.stderr


def test_only_its_owner_may_read_it_and_what_is_there_stays(incident: Path, tmp_path: Path) -> None:
    """Mode 0600; a file of that name is evidence already, and is not written over."""
    target = tmp_path / "bundle.zip"
    _bundled(incident, target)
    assert target.stat().st_mode & 0o777 == 0o600
    before = target.read_bytes()
    ran = perhop("incident", LEAKED, "--bundle", str(target), folder=incident)
    assert ran.code == 1
    assert "is there already" in ran.err
    assert target.read_bytes() == before


def test_a_bundle_that_would_not_verify_is_not_there(copied: Path, tmp_path: Path) -> None:
    """A record that was changed in the journal is named, and nothing is left behind, not even half."""
    with closing(sqlite3.connect(copied / "journal.db")) as db:
        db.execute("UPDATE record SET body = replace(body, 'delete_event', 'select_event') WHERE body LIKE '%leaked%'")
        db.commit()
    (tmp_path / "out").mkdir()
    ran = perhop("incident", LEAKED, "--bundle", str(tmp_path / "out/bundle.zip"), folder=copied)
    assert ran.code == 7
    assert "does not lead to the root" in ran.err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_report_that_is_not_what_the_records_say_is_not_handed_over(copied: Path, tmp_path: Path) -> None:
    """Whoever hid a call from questions made the journal count one less; the records tell, before the file is there."""
    with closing(sqlite3.connect(copied / "journal.db")) as db:
        db.execute("UPDATE facet SET in_jti = NULL WHERE call_id = ?", (f"{LEAKED}-2",))
        db.commit()
    ran = perhop("incident", LEAKED, "--bundle", str(tmp_path / "bundle.zip"), folder=copied)
    assert ran.code == 7
    assert "no bundle was written, since it would not verify: `did` in `blast-radius.json`" in ran.err
    assert list(tmp_path.glob("*bundle*")) == []


def test_a_folder_that_is_not_there_is_said(incident: Path, tmp_path: Path) -> None:
    """The path is named."""
    ran = perhop("incident", LEAKED, "--bundle", str(tmp_path / "no/such/bundle.zip"), folder=incident)
    assert ran.code == 1
    assert "bundle.zip" in ran.err


def _unsigned(folder: Path) -> None:
    """As after a crash: the last records have no checkpoint yet, and none was published over them."""
    with closing(sqlite3.connect(folder / "journal.db")) as db:
        size = db.execute("SELECT max(size) FROM checkpoint").fetchone()[0]
        made = JournalFolder(folder=folder, key=load_journal_key(folder / "keys"))
        with made.queries() as reader:
            leaves = list(reader.leaves(0, size - 5))
        tree = Frontier().grown(leaves)
        db.execute("DELETE FROM checkpoint WHERE size > ?", (size - 5,))
        db.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", (tree.size, sign_checkpoint(made.key, tree)))
        db.execute("UPDATE frontier SET size = ?, hashes = ?", (tree.size, tree.to_bytes()))
        db.commit()
    (folder / "journal.checkpoint").unlink()


def test_records_that_nobody_signed_yet_are_signed_first(copied: Path, tmp_path: Path) -> None:
    """After a crash the last records have no checkpoint; where nobody writes the journal, the command sees to one."""
    _unsigned(copied)
    _bundled(copied, tmp_path / "bundle.zip")
    assert _verified(tmp_path / "bundle.zip", copied).code == 0
    assert perhop("journal", "verify", folder=copied).code == 0


def test_without_the_private_key_what_is_not_signed_is_said(copied: Path, tmp_path: Path) -> None:
    """The records are named, and no bundle is made that covers less than it says."""
    _unsigned(copied)
    (copied / "keys/journal.pem").unlink()
    ran = perhop("incident", LEAKED, "--bundle", str(tmp_path / "bundle.zip"), folder=copied)
    assert ran.code == 1
    assert re.search(r"records \d+ to \d+ are not signed yet, and there is no key", ran.err)
    assert list(tmp_path.glob("*.zip")) == []


def test_of_a_copy_that_is_not_signed_to_its_end_it_is_said(copied: Path, tmp_path: Path) -> None:
    """A file that was named is only read: it is not signed for the sake of a bundle."""
    _unsigned(copied)
    shutil.copy(copied / "journal.db", tmp_path / "copy.db")
    before = (tmp_path / "copy.db").read_bytes()
    words = ("incident", LEAKED, "--journal", str(tmp_path / "copy.db"), "--bundle", str(tmp_path / "bundle.zip"))
    ran = perhop(*words, folder=copied)
    assert ran.code == 1
    assert "are not signed" in ran.err
    assert (tmp_path / "copy.db").read_bytes() == before
    assert list(tmp_path.glob("*.zip")) == []


def test_of_archived_and_of_live_records_there_are_bundles(tmp_path: Path) -> None:
    """A segment proves its own under its last checkpoint, the live file the rest, through what is left of its base."""
    folder = tmp_path / "old"
    make_old_installation(folder)
    write_old(folder, 300, days=50)
    write_old(folder, 100, days=3, first=1000)
    archived = perhop("journal", "archive", "--keep", "35", "--json", folder=folder)
    assert archived.json["archived"], archived.err
    (segment,) = (folder / "journal-archive").glob("journal-*.db")
    ran = perhop("incident", "in-1020", "--bundle", "live.zip", folder=folder)
    assert ran.code == 0, ran.err
    assert "are archived and were not asked" in ran.err
    assert perhop("incident", "in-20", "--bundle", "no.zip", folder=folder).code == 6
    words = ("incident", "in-20", "--journal", str(segment), "--bundle", "segment.zip")
    assert perhop(*words, folder=folder).code == 0
    # All these calls are of one transaction.
    for name, token, count in (("live.zip", "in-1020", 100), ("segment.zip", "in-20", 300)):
        ran = _verified(folder / name, folder)
        assert (ran.json["ok"], ran.json["token"], ran.json["records"]) == (True, token, count)


def test_a_signed_journal_needs_no_private_key(copied: Path, tmp_path: Path) -> None:
    """A copy without the key is enough where everything is signed."""
    (copied / "keys/journal.pem").unlink()
    _bundled(copied, tmp_path / "bundle.zip")


def test_beside_a_server_that_writes(copied: Path, tmp_path: Path) -> None:
    """The running server signs what is not signed yet, and keeps the journal."""
    settings = copied / "perhop.yaml"
    ports = free_ports(3)
    text = settings.read_text(encoding="utf-8")
    for old, new in zip((8420, 8421, 8422), ports, strict=True):
        text = text.replace(f'"127.0.0.1:{old}"', f'"127.0.0.1:{new}"')
    settings.write_text(text, encoding="utf-8")
    with started([PERHOP, "serve"], ports=[ports[0], ports[2]], folder=copied):
        perhop("revoke", "--token", LEAKED, "--why", "test", folder=copied)
        parts = _bundled(copied, tmp_path / "bundle.zip")
        assert [each["about"]["why"] for each in _records(parts) if each["event"] == "revocation"] == ["leak", "test"]
        assert _verified(tmp_path / "bundle.zip", copied).code == 0


def test_of_a_token_that_nobody_knows_there_is_no_bundle(incident: Path, tmp_path: Path) -> None:
    """Exit code 6, and no file."""
    ran = perhop("incident", "nosuch", "--bundle", str(tmp_path / "bundle.zip"), folder=incident)
    assert (ran.code, list(tmp_path.glob("*.zip"))) == (6, [])


def test_what_happens_later_is_in_the_next_bundle(copied: Path, tmp_path: Path) -> None:
    """A record that came after the first bundle is in the second, and both verify."""
    first = _bundled(copied, tmp_path / "first.zip")
    write([(AFTERWARDS + 60, refused(TOKEN, "token.revoked", STRANGER, tool="list_events"))], copied)
    second = _bundled(copied, tmp_path / "second.zip")
    assert len(_records(second)) == len(_records(first)) + 1
    for name in ("first.zip", "second.zip"):
        assert _verified(tmp_path / name, copied).code == 0


def test_a_record_of_a_signal_is_in_it_whosever_it_is(incident: Path) -> None:
    """Signals rest on the token's own records today; one that rests on another brings that along."""
    with investigating(load(incident / "perhop.yaml", {}), now=int(AFTERWARDS)) as investigation:
        found = investigation.incident(LEAKED, since=None)
        signal = replace(found.signals[0], records=(*found.signals[0].records, 1))
        assert records_of(investigation.reader, replace(found, signals=(signal,)))[0] == 1
        assert 1 not in records_of(investigation.reader, found)
