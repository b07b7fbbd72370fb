"""`perhop doctor` on an installation in which something is really broken: each thing is found, with what to do."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perhop.control.doctor import CHECKS, Finding, Status, diagnose
from perhop.errors import OperatorError
from perhop.settings import load
from perhop.tokens.keys import SigningKey
from perhop.wiring.keys import write_signing_key
from perhop.wiring.libraries import FLOORS, check_libraries, installed_version, outdated
from tests.support.commands import Ran, make_installation, perhop, ports_of
from tests.support.installations import PERHOP, await_revocation_check
from tests.support.processes import started
from tests.support.sources import ROOT


def _findings(ran: Ran) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in ran.json["checks"]}


def _failed(folder: Path) -> dict[str, dict[str, Any]]:
    """What failed, after exit code and `ok` have said that something did."""
    ran = perhop("doctor", "--json", folder=folder)
    assert (ran.code, ran.json["ok"]) == (7, False), ran.out
    return {name: each for name, each in _findings(ran).items() if each["status"] == "failed"}


def _change(folder: Path, old: str, new: str) -> None:
    file = folder / "perhop.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def whole(folder: Path) -> Path:
    """An installation in which nothing is wrong that needs no server to be seen."""
    (folder / "perhop.yaml").chmod(0o600)
    _change(folder, "2020-12-31", "2099-12-31")
    _change(folder, "travel@example.com", "travel@example.com, members: [ann@example.com]")
    _change(folder, "rooms@example.com", "rooms@example.com, members: [bob@example.com]")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An installation that is served; each test breaks a thing, and mends it."""
    folder = tmp_path_factory.mktemp("served") / "installation"
    make_installation(folder)
    (folder / "perhop.yaml").chmod(0o600)
    ports = ports_of(folder)
    with started([PERHOP, "serve"], ports=ports, folder=folder):
        await_revocation_check(f"127.0.0.1:{ports[1]}")
        yield folder


def test_a_whole_installation_is_found_whole(whole: Path) -> None:
    """Nothing failed, what needs a server is skipped, and the bound of a revocation is told."""
    ran = perhop("doctor", "--json", folder=whole)
    assert (ran.code, ran.json["ok"]) == (0, True), ran.out
    found = _findings(ran)
    assert {found[name]["status"] for name in ("keys", "database", "journal", "policies", "disk", "modes")} == {"ok"}
    assert {found[name]["status"] for name in ("issuer", "published keys", "address")} == {"skipped"}
    assert "2 s" in found["revocation bound"]["seen"]
    assert "what it takes is not known: perhop does not serve here" in found["revocation bound"]["seen"]


def test_every_check_answers(whole: Path) -> None:
    """Each check of the table gives at least one finding, in the order of the table."""
    checks = [each["check"] for each in perhop("doctor", "--json", folder=whole).json["checks"]]
    assert list(dict.fromkeys(checks)) == [check.name for check in CHECKS]


def test_people_are_told_why_and_what_to_do(folder: Path) -> None:
    """A line for each finding; below, of each that needs somebody, why, remedy and page."""
    (folder / "keys/journal.pem").chmod(0o644)
    ran = perhop("doctor", folder=folder)
    assert ran.code == 7
    assert re.search(r"^failed +modes +others may read `.*journal\.pem`", ran.out, re.M)
    assert re.search(r"^skipped +issuer ", ran.out, re.M)
    told = ran.out.partition("\nmodes: failed: ")[2].partition("\n\n")[0]
    assert "why: whoever reads a signing key is us" in told
    assert "fix: run `chmod 600 " in told
    assert "see: docs/reference/doctor.md#modes" in told


@pytest.mark.parametrize("check", [check.name for check in CHECKS])
def test_the_page_that_is_named_has_the_check(check: str) -> None:
    """The anchor leads to a heading of the page."""
    page, _, anchor = Finding(check=check, why="", answer=_an_answer()).page.partition("#")
    headings = re.findall(r"^## (.*)$", (ROOT / page).read_text(encoding="utf-8"), re.M)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def _an_answer() -> Any:
    from perhop.control.doctor.finding import ok

    return ok("fine")


def test_what_others_may_read_is_named(whole: Path) -> None:
    """A key, a client's secret, a database, and a configuration that holds a secret."""
    for path in ("keys/journal.pem", "keys/x.secret", "perhop.db"):
        (whole / path).touch()
        (whole / path).chmod(0o640)
        assert path.rpartition("/")[2] in _failed(whole)["modes"]["seen"]
        (whole / path).chmod(0o600)
    (whole / "perhop.yaml").chmod(0o644)
    assert "perhop.yaml" in _failed(whole)["modes"]["seen"]


def test_a_key_that_was_moved_away_is_missed(whole: Path) -> None:
    """Without any key, and with another one in the place of the active one."""
    (key,) = (whole / "keys").glob("signing-*.pem")
    key.rename(whole / "moved.pem")
    assert "there is no signing key" in _failed(whole)["keys"]["seen"]
    write_signing_key(whole / "keys", SigningKey.generate())
    found = _failed(whole)["keys"]
    assert key.name in found["seen"]
    assert "restore" in found["fix"]


def test_a_journal_key_of_another_journal_is_found(whole: Path, tmp_path: Path) -> None:
    """The halves of the journal's key must belong together."""
    make_installation(tmp_path / "other")
    (whole / "keys/journal.vkey").write_bytes((tmp_path / "other/keys/journal.vkey").read_bytes())
    assert "keys" in _failed(whole)


def test_a_journal_that_was_changed_is_found(whole: Path) -> None:
    """The first changed record is named."""
    octets = (whole / "journal.db").read_bytes()
    assert octets.count(b'"by":"init"') > 0
    (whole / "journal.db").write_bytes(octets.replace(b'"by":"init"', b'"by":"idle"'))
    assert "record 1" in _failed(whole)["journal"]["seen"]


def test_a_database_of_another_version_is_found(whole: Path) -> None:
    """A schema that this version does not know."""
    with sqlite3.connect(whole / "perhop.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer Perhop" in _failed(whole)["database"]["seen"]


def test_policies_that_do_not_load_or_look_wrong_are_found(whole: Path) -> None:
    """An error fails, a name that is nobody's is a warning."""
    (whole / "policies/new.cedar").write_text(
        '@id("x") permit (principal == MCP::Agent::"nobody", action, resource);\n'
    )
    found = _findings(perhop("doctor", "--json", folder=whole))["policies"]
    assert (found["status"], "nobody" in found["seen"]) == ("warning", True)
    (whole / "policies/new.cedar").write_text("permit (principal")
    assert "new.cedar" in _failed(whole)["policies"]["seen"]


def test_a_configuration_that_does_not_load_is_all_that_is_told(whole: Path) -> None:
    """Each problem is a finding of its own, with its line."""
    _change(whole, "    tenant:", "    tennant:")
    assert "did you mean" not in perhop("doctor", "--json", folder=whole).err
    found = perhop("doctor", "--json", folder=whole)
    assert found.code == 7
    assert [(each["name"], each["status"]) for each in found.json["checks"]] == [("configuration", "failed")]
    assert "perhop.yaml:10" in found.json["checks"][0]["seen"]


@pytest.mark.parametrize(
    ("old", "new", "check", "said"),
    [
        ("2099-12-31", "2020-12-31", "clients", "expired: `planner`, `idler`"),
        (", members: [ann@example.com]", "", "owners", "without members: `travel`"),
        (
            "credential: {kind: none}",
            "credential: {kind: none}, unsafe_open_upstream: true",
            "unsafe switches",
            "calendar",
        ),
    ],
)
def test_what_somebody_should_look_at_is_a_warning(old: str, new: str, check: str, said: str, whole: Path) -> None:
    """It is told with a remedy, and nothing has failed."""
    _change(whole, old, new)
    ran = perhop("doctor", "--json", folder=whole)
    found = _findings(ran)[check]
    assert (ran.code, found["status"]) == (0, "warning")
    assert said in found["seen"]
    assert found["fix"]


async def test_a_client_that_is_about_to_expire_is_told(whole: Path) -> None:
    """A month before its last day."""
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 10 * 86400))
    _change(whole, "2099-12-31", day)
    found = await _look(whole)
    assert found["clients"].answer.status is Status.WARNING
    assert "within 30 days: `planner`, `idler`" in found["clients"].answer.seen


@pytest.mark.parametrize(
    ("networks", "status"),
    [
        ("[0.0.0.0/0]", "failed"),
        ("['::/0']", "failed"),
        ("[8.0.0.0/7]", "warning"),
        ("[10.0.0.0/8]", "ok"),
        ("[203.0.113.7]", "ok"),
        ("[]", "ok"),
    ],
)
def test_proxies_that_anybody_could_be_are_found(networks: str, status: str, whole: Path) -> None:
    """Everybody, and wide public networks."""
    _change(whole, "owners:", f"forwarded_from: {networks}\nowners:")
    assert _findings(perhop("doctor", "--json", folder=whole))["proxies"]["status"] == status


async def _look(folder: Path, *, ahead: float = 0, **seen: Any) -> dict[str, Finding]:
    findings = await diagnose(load(folder / "perhop.yaml", {}), clock=lambda: time.time() + ahead, **seen)
    return {each.name: each for each in findings}


@pytest.mark.parametrize(("left", "status"), [(2 << 30, "ok"), (1 << 29, "warning"), (1 << 20, "failed")])
async def test_a_disk_that_fills_is_found(left: int, status: str, whole: Path) -> None:
    """While there is room to act, and when there is none."""
    assert (await _look(whole, free_bytes=lambda _: left))["disk"].answer.status == status


@pytest.mark.parametrize(
    ("name", "version", "is_unsafe"),
    [
        ("starlette", "1.0.0", True),
        ("starlette", "1.0.1rc1", True),
        ("starlette", "1.0.1", False),
        ("starlette", "0.52.1", True),
        ("joserfc", "1.6.2", True),
        ("joserfc", "1.6.3.post1", False),
        ("h11", "0.14.0", True),
        ("h11", "0.16", False),
        ("h11", "0.16.0", False),
        ("aiohttp", "3.13.3", True),
        ("aiohttp", "3.13.10", False),
        ("aiohttp", "4.0.0a1", False),
    ],
)
async def test_libraries_below_their_floor_are_found(name: str, version: str, is_unsafe: bool) -> None:
    """Versions are compared by their numbers, and a pre-release comes before its release."""
    assert bool(outdated(lambda each: version if each == name else FLOORS[each])) is is_unsafe


async def test_an_unsafe_library_fails(whole: Path) -> None:
    """The library, its version and the floor are told."""
    found = (await _look(whole, installed=lambda name: "0.1" if name == "h11" else None))["libraries"].answer
    assert (found.status, "h11 0.1" in found.seen) == (Status.FAILED, True)


def test_the_libraries_that_are_here_may_run() -> None:
    """What the requirements pin is above the floors; below them nothing is served."""
    check_libraries(installed_version)
    with pytest.raises(OperatorError, match=r"joserfc 1\.6\.2 \(needs 1\.6\.3"):
        check_libraries(lambda name: "1.6.2" if name == "joserfc" else None)


def test_a_running_server_is_found_at_its_own_url(served: Path) -> None:
    """Issuer, keys, address and clock are what they should be."""
    found = _findings(perhop("doctor", "--json", folder=served))
    for name in ("issuer", "published keys", "address calendar", "clock"):
        assert found[name]["status"] == "ok", found[name]


def test_an_issuer_that_is_not_at_its_url_is_found(served: Path) -> None:
    """Nothing answers there, and metadata of another issuer counts as nothing."""
    text = (served / "perhop.yaml").read_text(encoding="utf-8")
    issuer = re.findall(r"^issuer: (\S+)", text, re.M)[0]
    try:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            (served / "perhop.yaml").write_text(text.replace(issuer, f"http://127.0.0.1:{unused.getsockname()[1]}"))
            failed = _failed(served)
            assert "nothing answers there" in failed["issuer"]["seen"]
            assert "address calendar" in failed
        (served / "perhop.yaml").write_text(text.replace(issuer, issuer.replace("127.0.0.1", "localhost")))
        assert "localhost" in _failed(served)["issuer"]["seen"]
    finally:
        (served / "perhop.yaml").write_text(text)


def test_an_active_key_that_is_not_published_is_found(served: Path) -> None:
    """A key that was made active behind the server's back: nobody could verify its tokens."""
    key = SigningKey.generate()
    written = write_signing_key(served / "keys", key)
    with sqlite3.connect(served / "perhop.db") as database:
        (before,) = database.execute("SELECT kid FROM key_state WHERE state = 'active'").fetchone()
        database.execute("UPDATE key_state SET kid = ? WHERE kid = ?", (key.kid, before))
    try:
        assert key.kid in _failed(served)["published keys"]["seen"]
    finally:
        with sqlite3.connect(served / "perhop.db") as database:
            database.execute("UPDATE key_state SET kid = ? WHERE kid = ?", (before, key.kid))
        written.unlink()


@pytest.mark.parametrize(("ahead", "status"), [(0, "ok"), (20, "warning"), (120, "failed"), (-120, "failed")])
async def test_clocks_that_differ_are_found(ahead: float, status: str, served: Path) -> None:
    """By the Date of the issuer's own answer, in both directions."""
    assert (await _look(served, ahead=ahead))["clock"].answer.status == status


def test_looking_leaves_no_trace(served: Path) -> None:
    """The journal has as many records afterwards as before."""
    before = perhop("journal", "verify", "--json", folder=served).json["records"]
    perhop("doctor", folder=served)
    assert json.loads(perhop("journal", "verify", "--json", folder=served).out)["records"] == before


def test_a_remedy_is_a_command_to_copy(whole: Path) -> None:
    """What stands in backticks is one command, with its option."""
    told = perhop("doctor", folder=whole).out
    assert "fix: run `perhop resource tools calendar --approve`" in told
