"""`perhop journal archive`: beside a running server, without one, and interrupted; and every command afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.control.local import carry_out
from perhop.demo.attacks import ACCESS_TOKEN, EXCHANGE
from perhop.demo.run import staged
from perhop.demo.scene import Scene, Seen, call
from perhop.demo.servers import call_tool
from perhop.errors import OperatorError
from perhop.journal.keys import load_journal_key
from perhop.settings import load
from perhop.tokens.parse import parse_compact
from tests.support.archives import append_all, calls, days_ago, make_old_installation, write_next_segment, write_old
from tests.support.commands import SECRET, clean_environment, perhop, ports_of
from tests.support.installations import PERHOP
from tests.support.journals import JournalFolder, make_journal
from tests.support.processes import LOOPBACK, started

PATIENCE_SECONDS = 30.0
ARCHIVE = "journal-archive"


@pytest.fixture(scope="module")
def old_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation of long ago, with 300 records of 50 days ago and 100 of 20 days ago; nobody changes it."""
    folder = tmp_path_factory.mktemp("old") / "made"
    make_old_installation(folder)
    write_old(folder, 300, days=50)
    write_old(folder, 100, days=20, first=1000)
    return folder


@pytest.fixture
def old(old_template: Path, tmp_path: Path) -> Path:
    """A copy of it, which nothing serves."""
    return Path(shutil.copytree(old_template, tmp_path / "installation"))


def _archive(folder: Path, *words: str) -> Any:
    ran = perhop("journal", "archive", *words, "--json", folder=folder)
    assert ran.code == 0, ran.err
    return ran.json


def _verify_all(folder: Path) -> Any:
    ran = perhop("journal", "verify", "--archive", ARCHIVE, "--json", folder=folder)
    assert (ran.code, ran.json["ok"]) == (0, True), ran.err
    return ran.json


def _count(folder: Path, where: str = "TRUE") -> int:
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        return int(connection.execute(f"SELECT count(*) FROM record WHERE {where}").fetchone()[0])


# --- without a server ------------------------------------------------------------------------------------------------


def test_old_records_leave_the_file_and_stay_evidence(old: Path) -> None:
    """What would go is told first; then it goes, the file holds the rest alone, and all of it verifies as one."""
    before = (old / "journal.db").read_bytes()
    would = _archive(old, "--keep", "35", "--dry-run")
    assert (would["archived"], would["first"], would["last"], would["kept"]) == (False, 1, 302, 100)
    assert ((old / "journal.db").read_bytes(), (old / ARCHIVE).exists()) == (before, False)
    did = _archive(old, "--keep", "35")
    assert (did["archived"], did["first"], did["last"], did["seq"], did["swept"]) == (True, 1, 302, 403, True)
    assert did["path"] == str(old / ARCHIVE / did["file"])
    assert _count(old) == 101
    assert (old / "journal.db").stat().st_size < len(before)
    again = _archive(old, "--keep", "35")
    assert (again["archived"], again["file"]) == (False, None)
    second = _archive(old, "--keep", "10")
    assert (second["first"], second["last"]) == (303, 402)
    found = _verify_all(old)
    assert (found["records"], found["last"]) == (404, 404)
    assert [(each["first"], each["last"], each["ok"]) for each in found["segments"]] == [
        (1, 302, True),
        (303, 402, True),
    ]
    assert perhop("token", "issue", "--client", "planner", "--resource", "rooms", folder=old).code == 0
    assert _verify_all(old)["records"] == 405


def test_verify_says_on_what_a_file_rests(old: Path, tmp_path: Path) -> None:
    """The live file names its segments, a segment verifies with nothing beside it, and a bad one is named."""
    shutil.copy(old / "journal.checkpoint", tmp_path / "kept-before")
    archived = _archive(old, "--keep", "35")
    ran = perhop("journal", "verify", folder=old)
    assert ran.code == 0
    assert f"records 1 to 302 in {archived['file']}, sha256 {archived['sha256']}" in ran.out
    live = perhop("journal", "verify", "--json", folder=old).json
    assert (live["records"], live["first"], live["last"], live["sealed"]) == (101, 303, 403, False)
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(old / ARCHIVE / archived["file"], bare)
    shutil.copy(old / "keys/journal.vkey", bare)
    alone = perhop("journal", "verify", archived["file"], "--public-key", "journal.vkey", "--json", folder=bare)
    assert (alone.code, alone.json["ok"], alone.json["sealed"], alone.json["last"]) == (0, True, True, 302)
    assert len(list(bare.iterdir())) == 2
    kept = ("--checkpoint", str(tmp_path / "kept-before"))
    assert perhop("journal", "verify", *kept, folder=old).code == 0
    (old / ARCHIVE / archived["file"]).rename(tmp_path / "away.db")
    gone = perhop("journal", "verify", "--archive", ARCHIVE, "--json", folder=old)
    assert (gone.code, gone.json["ok"], gone.json["first_bad"]) == (7, False, 1)
    assert f"`{archived['file']}` is missing" in gone.err
    assert perhop("journal", "verify", "--archive", "nosuch", folder=old).code == 6


def test_a_segment_in_the_place_of_the_journal_is_not_ok(old: Path) -> None:
    """It verifies, and it is not the journal: verify, doctor and the writer say so."""
    segment = old / ARCHIVE / _archive(old, "--keep", "35")["file"]
    (old / "journal.checkpoint").unlink()
    (old / "journal.db").unlink()
    shutil.copy(segment, old / "journal.db")
    (old / "journal.db").chmod(0o600)
    ran = perhop("journal", "verify", "--json", folder=old)
    assert (ran.code, ran.json["ok"]) == (7, False)
    assert "sealed segment" in ran.err
    assert perhop("token", "issue", "--client", "planner", "--resource", "rooms", folder=old).code == 7
    assert "sealed segment" in perhop("journal", "archive", "--keep", "1", folder=old).err
    checks = {each["name"]: each for each in perhop("doctor", "--json", folder=old).json["checks"]}
    assert checks["journal"]["status"] == "failed"


def test_questions_say_what_they_did_not_ask(old: Path) -> None:
    """An answer that may lie in the archive says so, on stderr and as a member; a segment can be asked itself."""
    segment = str(Path(ARCHIVE) / _archive(old, "--keep", "35")["file"])
    query = perhop("journal", "query", "--jti", "in-7", folder=old)
    assert (query.out, "records 1 to 302" in query.err, Path(segment).name in query.err) == ("", True, True)
    assert "in-7" in perhop("journal", "query", "--jti", "in-7", "--journal", segment, "--json", folder=old).out
    recent = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 10 * 24 * 3600))
    assert perhop("journal", "query", "--since", recent, folder=old).err == ""
    assert perhop("journal", "tail", "-n", "5", folder=old).err == ""
    assert "archived" in perhop("journal", "tail", "-n", "500", folder=old).err
    unknown = perhop("trace", "in-7", folder=old)
    assert (unknown.code, "archived" in unknown.err) == (6, True)
    traced = perhop("trace", "in-7", "--json", "--journal", segment, folder=old).json
    assert "in-7" in [hop["jti"] for hop in traced["hops"]]
    assert perhop("trace", "in-1000", "--json", folder=old).json["archived_until"] is not None
    radius = perhop("blast-radius", "--agent", "trip-planner", "--json", folder=old)
    assert (radius.json["rests_on"]["first"], radius.json["did"][0]["count"]) == (303, 50)
    assert radius.json["rests_on"]["archived_until"] in radius.err
    then = perhop("blast-radius", "--agent", "trip-planner", "--json", "--journal", segment, folder=old).json
    assert (then["rests_on"]["archived_until"], then["did"][0]["count"]) == (None, 150)
    incident = perhop("incident", "in-1000", "--json", folder=old)
    assert (incident.json["rests_on"]["first"], "archived" in incident.err) == (303, True)
    assert perhop("incident", "in-7", "--json", "--journal", segment, folder=old).code == 0
    assert "archived" in perhop("client", "list", folder=old).err


def test_proofs_of_live_and_archived_records(old: Path) -> None:
    """Both are checked with the public key alone; who asks the wrong file is told the right one."""
    segment = str(Path(ARCHIVE) / _archive(old, "--keep", "35")["file"])
    for seq, words in ((303, ()), (403, ()), (1, ("--journal", segment)), (302, ("--journal", segment))):
        proof = perhop("journal", "prove", str(seq), *words, folder=old)
        (old / "proof.json").write_text(proof.out, encoding="utf-8")
        check = ("journal", "prove", "--check", "proof.json", "--public-key", "keys/journal.vkey")
        assert perhop(*check, folder=old).json["seq"] == seq
    wrong = perhop("journal", "prove", "7", folder=old)
    assert (wrong.code, Path(segment).name in wrong.err) == (6, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--before"),
        (("--keep", "35", "--before", "2020-01-01"), 2, "--before"),
        (("--keep", "0"), 2, "--keep"),
        (("--before", "soon"), 2, "--before"),
        (("--before", "2099-01-01"), 1, "live tokens are looked up"),
    ],
)
def test_what_cannot_be_asked_for(old_template: Path, words: tuple[str, ...], code: int, said: str) -> None:
    """Younger records than a day never go, and the words say why."""
    ran = perhop("journal", "archive", *words, folder=old_template)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_a_young_journal_has_nothing_to_archive(folder: Path) -> None:
    """That is no failure, so that a timer may ask every day; the first record that stays is named."""
    ran = perhop("journal", "archive", "--keep", "1", folder=folder)
    assert (ran.code, ran.out.startswith("nothing to archive: record 1 is of ")) == (0, True)


def test_an_export_that_lags_behind_holds_the_cut_back(old: Path) -> None:
    """Nothing goes that an export has not taken; what it has taken goes, and it is named for the rest."""
    configuration = old / "perhop.yaml"
    export = "exports: {siem: {format: json, to: siem.jsonl}}\n"
    configuration.write_text(export + configuration.read_text(encoding="utf-8"), encoding="utf-8")
    ran = perhop("journal", "archive", "--keep", "35", folder=old)
    assert (ran.code, "the export `siem` has not yet taken record 1" in ran.out) == (0, True)
    (old / "export-siem.cursor").write_text('{"seq": 200}\n', encoding="ascii")
    did = _archive(old, "--keep", "35")
    assert did["archived"]
    assert 100 < did["last"] <= 200
    assert "the export `siem` has not yet taken record 201" in did["why_no_more"]


async def test_the_writer_itself_looks_again(old: Path) -> None:
    """A cut that no command of ours would ask for is refused by the operation: too young, or not yet exported."""
    key = load_journal_key(old / "keys")
    made = JournalFolder(folder=old, key=key)
    await append_all(made.open(), calls(80, first=2000))
    settings = load(old / "perhop.yaml", {})
    young = write_next_segment(made, old / ARCHIVE, upto=482)
    with pytest.raises(OperatorError, match="the last day stays in the journal"):
        await carry_out(settings, "journal.cut", {"file": str(young), "sha256": "0" * 64})
    aged = write_next_segment(made, old / ARCHIVE, upto=302)
    with pytest.raises(OperatorError, match="are no name of a segment"):
        await carry_out(settings, "journal.cut", {"file": str(aged), "sha256": "0"})
    with pytest.raises(OperatorError, match="there is no segment"):
        await carry_out(settings, "journal.cut", {"file": str(aged) + "x", "sha256": "0" * 64})
    (old / "export-siem.cursor").write_text('{"seq": 200}\n', encoding="ascii")
    configuration = old / "perhop.yaml"
    export = "exports: {siem: {format: json, to: siem.jsonl}}\n"
    configuration.write_text(export + configuration.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(OperatorError, match="has not yet taken record 201"):
        await carry_out(load(configuration, {}), "journal.cut", {"file": str(aged), "sha256": "0" * 64})
    assert _count(old) == 482


# --- interrupted -----------------------------------------------------------------------------------------------------


def test_killed_while_the_segment_is_written(old: Path) -> None:
    """Nothing has changed, and the next run archives all of it."""
    write_old(old, 3000, days=15, first=10_000)
    before = _count(old)
    draft = old / ARCHIVE / "journal-000000000001-000000003402.db.new"
    with subprocess.Popen(
        [PERHOP, "journal", "archive", "--keep", "10"], cwd=old, env=clean_environment(), stdout=subprocess.DEVNULL
    ) as run:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not draft.exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        assert run.wait(timeout=PATIENCE_SECONDS) == -signal.SIGKILL
    assert [each.name for each in (old / ARCHIVE).glob("*.db")] == []
    assert (_count(old), perhop("journal", "verify", folder=old).code) == (before, 0)
    assert _archive(old, "--keep", "10")["last"] == 3402
    assert [each.name for each in (old / ARCHIVE).glob("*.new")] == []
    assert _verify_all(old)["records"] == before + 1


def test_killed_between_the_segment_and_the_cut(old: Path) -> None:
    """The next run finds the segment that is there, verifies it again, and cuts with it."""
    made = JournalFolder(folder=old, key=load_journal_key(old / "keys"))
    segment = write_next_segment(made, old / ARCHIVE, upto=250)
    before = segment.stat().st_mtime_ns
    would = perhop("journal", "archive", "--keep", "35", "--dry-run", folder=old)
    assert f"{segment.name} of an interrupted run would be used" in would.out
    did = _archive(old, "--keep", "35")
    assert (did["file"], segment.stat().st_mtime_ns) == (segment.name, before)
    assert _archive(old, "--keep", "35")["last"] == 302
    assert _verify_all(old)["records"] == 404


def test_a_stranger_in_the_folder_stops_the_run(old: Path) -> None:
    """A file with the name of our segment that is not ours is named, and nothing is cut."""
    made = JournalFolder(folder=old, key=load_journal_key(old / "keys"))
    segment = write_next_segment(made, old / ARCHIVE, upto=302)
    segment.chmod(0o600)
    with contextlib.closing(sqlite3.connect(segment)) as connection, connection:
        connection.execute("UPDATE record SET body = replace(body, 'tools/call', 'tools/cald') WHERE seq = 41")
    ran = perhop("journal", "archive", "--keep", "35", folder=old)
    assert (ran.code, segment.name in ran.err, "nothing was archived: record 41" in ran.err) == (7, True, True)
    assert _count(old) == 402


# --- beside a server -------------------------------------------------------------------------------------------------


def _metric(folder: Path, name: str) -> float:
    _, ops = ports_of(folder)
    lines = httpx2.get(f"http://{LOOPBACK}:{ops}/metrics", timeout=10).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def _token_status(folder: Path) -> int:
    traffic, _ = ports_of(folder)
    form = {"grant_type": "client_credentials", "resource": "https://rooms.example.com/mcp"}
    answer = httpx2.post(f"http://{LOOPBACK}:{traffic}/token", data=form, auth=("planner", SECRET), timeout=10)
    return answer.status_code


def _await_swept(folder: Path, last: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _count(folder, f"seq <= {last}"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_cuts_sweeps_and_is_killed_over_it(old: Path) -> None:
    """The cut goes through the server; after kill -9 right then, all verifies, and the next start sweeps the rest."""
    write_old(old, 4000, days=15, first=10_000)
    with started([PERHOP, "serve"], ports=ports_of(old), folder=old) as running:
        did = _archive(old, "--keep", "10")
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(timeout=PATIENCE_SECONDS)
        assert (did["last"], did["swept"]) == (4402, False)
        found = _verify_all(old)
        assert found["records"] == found["last"]
    with started([PERHOP, "serve"], ports=ports_of(old), folder=old):
        _await_swept(old, did["last"])
        assert _token_status(old) == 200
        records, held = _metric(old, "perhop_journal_records_total"), _metric(old, "perhop_journal_file_records")
        assert records - held == did["last"]
        assert held == _count(old)
        checks = {each["name"]: each for each in perhop("doctor", "--json", folder=old).json["checks"]}
        assert checks["journal"]["status"] == "ok", checks["journal"]
        assert "archived" in checks["journal"]["seen"]
    assert _verify_all(old)["last"] > found["last"]


LIST_EVENTS = call("list_events", {"day": "monday"})
MEETING = {"title": "review", "day": "monday", "people": 3}


async def _perhop(scene: Scene, *words: str) -> Any:
    """Run a command beside the scene, as a process, and give its JSON."""
    run = await asyncio.create_subprocess_exec(
        PERHOP, *words, "--json", cwd=scene.folder, env=clean_environment(), stdout=subprocess.PIPE
    )
    out, _ = await run.communicate()
    assert run.returncode == 0
    return json.loads(out)


async def test_archived_beside_calls_and_revoked_afterwards(tmp_path: Path) -> None:
    """Calls go on over the cut, none is lost; a token from before it is revoked with what came from it."""
    folder = tmp_path / "demo"
    folder.mkdir()
    await append_all(make_journal(folder).open(days_ago(50)), calls(1500))
    async with staged(folder) as scene:
        calendar = scene.addresses.resource("calendar")
        await call_tool(calendar, scene.source("trip-planner").auth_for(calendar), "plan_meeting", MEETING)
        parent = (await scene.token("trip-planner", "calendar")).reveal()
        assert scene.calendar.received is not None
        hop_token = scene.calendar.received.reveal()
        done, seen = asyncio.Event(), list[str]()

        async def go_on() -> None:
            while not done.is_set():
                seen.append((await scene.at_gateway("calendar", parent, LIST_EVENTS)).observed)

        calling = asyncio.create_task(go_on())
        archived = await _perhop(scene, "journal", "archive", "--keep", "35")
        after = len(seen)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(seen) < after + 3:
                await asyncio.sleep(0.01)
        done.set()
        await calling
        assert (archived["first"], archived["last"], set(seen)) == (1, 1500, {"200"})
        assert scene.reader.base().frontier.size == 1500

        jti = str(parse_compact(parent).payload["jti"])
        revoked = await carry_out(scene.settings, "revoke", {"kind": "token", "value": jti, "why": "test"})
        assert parse_compact(hop_token).payload["jti"] in json.dumps(dict(revoked))
        assert await scene.at_gateway("calendar", parent, LIST_EVENTS) == Seen("401", "token.revoked")
        form = [
            ("grant_type", EXCHANGE),
            ("subject_token", hop_token),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", scene.addresses.resource("rooms")),
        ]
        assert await scene.at_sts("calendar-server", form) == Seen("400 invalid_request", "token.revoked")
        found = await _perhop(scene, "journal", "verify", "--archive", ARCHIVE)
        permits = len(await asyncio.to_thread(_permits, folder))
    assert (found["ok"], found["segments"][0]["last"]) == (True, 1500)
    assert permits >= len(seen)


def _permits(folder: Path) -> list[object]:
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        statement = 'SELECT 1 FROM record WHERE seq > 1500 AND body LIKE \'%"event":"call.permitted"%\''
        return connection.execute(statement).fetchall()
