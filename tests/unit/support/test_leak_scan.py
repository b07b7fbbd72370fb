"""The leak scan finds every kind of secret in every kind of place, says which and where, and never looks at nothing."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.leaks.exceptions import kept_file, tells_a_secret
from tests.support.leaks.files import Sight
from tests.support.leaks.plugin import what_runs
from tests.support.leaks.secrets import Kind, Secrets
from tests.support.leaks.wire import secrets_in_answer, secrets_in_request
from tests.support.sources import ROOT
from tests.unit.support import planted_leaks
from tests.unit.support.planted_leaks import PLACES, a_token

PLANTED = "tests/unit/support/planted_leaks.py"
SMALL = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "400"}
_FAILED = re.compile(r"^ERROR \S+::(\S+?)(?: - .*)?$", re.M)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of pytest that has ended."""

    code: int
    said: str
    secrets: tuple[str, ...] = ()

    @property
    def spoiled(self) -> set[str]:
        """The tests that ended well, and were failed by the scan."""
        return set(_FAILED.findall(self.said))

    def amount(self, what: str) -> int:
        """What the summary says of this."""
        (line,) = [line for line in self.said.splitlines() if line.startswith("leak scan: ") and "; for " in line]
        found = re.search(rf"(\d+) {re.escape(what)}\b", line)
        assert found is not None, line
        return int(found[1])


def run_pytest(*words: str, folder: Path = ROOT) -> Run:
    """Run pytest as `make test` does, its files where the scan of this run does not look."""
    with tempfile.TemporaryDirectory(prefix="perhop-planted-") as temporary:
        planted = Path(temporary, "secrets")
        planted.touch()
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rE", "-p", "no:cacheprovider", *words],
            cwd=folder,
            env={**variables, **SMALL, "TMPDIR": temporary, "PLANTED_SECRETS": str(planted)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr, tuple(planted.read_text(encoding="utf-8").split()))


@pytest.fixture(scope="module")
def planted() -> Run:
    """One run of all tests that leak."""
    return run_pytest(PLANTED)


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_every_kind_is_found_in_every_place(planted: Run, kind: Kind) -> None:
    """The test that leaked fails, after it has ended well, and what only had a secret does not."""
    mine = {f"test_leaks[{place.__name__}-{kind.name}]" for place in PLACES}
    assert mine - planted.spoiled == set()
    assert f"test_keeps_to_itself[{kind.name}]" not in planted.spoiled


def test_a_leak_is_told_without_the_secret(planted: Run) -> None:
    """Of each the kind, a fingerprint and the place; of the secret itself nothing, also where the test printed it."""
    assert planted.code == pytest.ExitCode.TESTS_FAILED
    said = [line for line in planted.said.splitlines() if not line.startswith("ERROR")]
    lines = [line for line in said if " has leaked: " in line]
    assert len(lines) >= len(PLACES) * len(Kind)
    assert [line for line in lines if not re.match(r"[a-z ]+ sha256:[0-9a-f]{12} \(\d+ octets\)", line)] == []
    for place in (
        "journal.db, table record, row 1",
        "log of `perhop.somewhere`",
        "answer 403 to POST http://127.0.0.1:1",
    ):
        assert place in planted.said
    assert len(planted.secrets) == (len(PLACES) + 1) * len(Kind)
    pieces = {secret[start : start + 12] for secret in planted.secrets for start in range(60, len(secret) - 12)}
    pieces |= {secret[:12] for secret in planted.secrets if not secret.startswith(("eyJ", "MC4CAQAwBQYDK2VwBCIEI"))}
    assert [piece for piece in pieces if piece in planted.said] == []


def test_the_summary_says_what_was_looked_at(planted: Run) -> None:
    """Every kind of place, and every kind of secret; a token that nobody knows is looked for without."""
    for sight in Sight:
        assert planted.amount(sight) >= len(Kind), sight
    for kind in set(Kind) - {Kind.TOKEN}:
        assert planted.amount(f"{kind}s") > len(PLACES), kind


SHARED = """
import pytest
from tests.unit.support.planted_leaks import a_token

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")

def test_first(shared):
    (shared / "notes.txt").write_text(a_token())

def test_last(shared):
    pass
"""
LEFT = """
from tests.unit.support.planted_leaks import a_token

def test_of_the_next_run(tmp_path_factory):
    (tmp_path_factory.mktemp("temporary") / "notes.txt").write_text(a_token())
"""
CONFTEST = """
from tests.support.leaks import plugin

def pytest_configure(config):
    plugin.register(config)
"""


def write_project(folder: Path, *texts: str) -> Path:
    """A project with these files of tests, scanned like ours."""
    (folder / "tests").mkdir()
    (folder / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\ntestpaths = ["tests"]\naddopts = "--import-mode=importlib"\n', encoding="utf-8"
    )
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    for number, text in enumerate(texts):
        (folder / "tests" / f"test_{number}.py").write_text(text, encoding="utf-8")
    return folder


def test_what_tests_share_is_looked_at_when_the_last_has_ended(tmp_path: Path) -> None:
    """A shared folder fails the last test of its file; what is kept for the next run fails the run, of two workers."""
    project = write_project(tmp_path, SHARED, LEFT)
    ran = run_pytest(
        "-p", "xdist", "-n", "2", "--dist", "loadfile", "tests/test_0.py", "tests/test_1.py", folder=project
    )
    assert (ran.spoiled, ran.code) == ({"test_last"}, pytest.ExitCode.TESTS_FAILED)
    assert "shared0/notes.txt, octet 0" in ran.said
    assert re.search(r"^leak scan: token sha256:\w+ .* has leaked: temporary0/notes.txt", ran.said, re.M)
    assert ran.amount("files") == 2
    alone = run_pytest("tests/test_1.py", folder=project)
    assert (alone.spoiled, alone.code) == (set(), pytest.ExitCode.TESTS_FAILED)


def test_a_whole_run_that_looked_at_nothing_fails(tmp_path: Path) -> None:
    """Of every kind of place and of secret it must have had some; a part of the run need not."""
    project = write_project(tmp_path, "def test_nothing(): pass\ndef test_more(): pass\n")
    whole = run_pytest(folder=project)
    assert whole.code == pytest.ExitCode.TESTS_FAILED
    missing = set(re.findall(r"^leak scan: a whole run, and no (.+)$", whole.said, re.M))
    assert missing == {*Sight, *Kind}
    assert run_pytest("-k", "nothing", folder=project).code == pytest.ExitCode.OK
    skipped = "import pytest\n@pytest.mark.skip\ndef test_nothing(): pass\n"
    (project / "tests" / "test_0.py").write_text(skipped, encoding="utf-8")
    assert run_pytest(folder=project).code == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "tests"),
        (["--ignore=tests/real"], "tests"),
        (["tests"], "tests"),
        (["tests/real"], "tests/real"),
        (["tests/flows"], "tests/flows"),
        (["tests/flows", "tests/unit"], ""),
        (["tests/real/test_harness.py::test_x"], ""),
        (["-k", "x"], ""),
        (["-m", "real"], ""),
        (["-x"], ""),
        (["--lf"], ""),
        (["--deselect", "tests/flows"], ""),
        (["--collect-only"], ""),
    ],
)
def test_what_a_run_is_of(words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole run is known by its command line: as `make test` and `make test-real` have it."""
    monkeypatch.chdir(ROOT)
    config = pytest.Config.fromdictargs({}, ["-p", "no:terminal", *words])
    assert what_runs(config) == expected


# --- what is found, and what is not ----------------------------------------------------------------------------------

TOKEN = a_token()
OCTETS = base64.urlsafe_b64decode(TOKEN.split(".")[2] + "==")


DISGUISED = {
    "plain": f"Bearer {TOKEN}",
    "percents": "".join(f"%{ord(letter):02X}" for letter in TOKEN),
    "escapes": "".join(f"\\u{ord(letter):04x}" for letter in TOKEN),
    **{f"base64 {size}": base64.b64encode(f"{'x' * size}:{TOKEN}".encode()).decode() for size in range(3)},
    **{f"base64url {size}": base64.urlsafe_b64encode(f"{'x' * size}:{TOKEN}".encode()).decode() for size in range(3)},
}
IN_PART = {
    "signature": TOKEN.split(".")[2],
    "cut signature": TOKEN.split(".")[2][20:60],
    "claims": TOKEN.split(".")[1],
    "cut claims": TOKEN.split(".")[1][:100],
    "signature in hexadecimal": TOKEN.split(".")[2].encode().hex(),
    "its octets in hexadecimal": OCTETS.hex(),
    "its octets in base64": base64.b64encode(OCTETS).decode(),
}


@pytest.mark.parametrize("disguise", DISGUISED)
def test_a_token_that_nobody_knows_is_found_by_its_form(disguise: str) -> None:
    """As it is, encoded, and wrapped in base64 behind any name."""
    found = Secrets().found_in(f"before {DISGUISED[disguise]} after".encode())
    assert [each.kind for each in found] == [Kind.TOKEN]


@pytest.mark.parametrize("part", IN_PART)
def test_a_token_that_is_known_is_found_in_part(part: str) -> None:
    """Its signature and its claims, cut or spelled otherwise; without knowing it, nothing is there."""
    secrets = Secrets()
    assert secrets.found_in(IN_PART[part].encode()) == []
    secrets.note(TOKEN, Kind.TOKEN)
    assert {each.kind for each in secrets.found_in(f"before {IN_PART[part]} after".encode())} == {Kind.TOKEN}
    assert secrets.found_in(a_token().split(".")[0].encode()) == []


@pytest.mark.parametrize(
    "secret", ["", ".", "..", "eyJ.eyJ.", f"{TOKEN.rpartition('.')[0]}.", "é" * 20, "\ud800" * 20], ids=range(7)
)
def test_anything_may_be_presented_as_a_secret(secret: str) -> None:
    """What attacks send in the place of a token has no form that could end the scan."""
    secrets = Secrets()
    for kind in Kind:
        secrets.note(secret, kind)
        secrets.note(f"{secret}-{kind}", kind)
    assert secrets.found_in(b"nothing of it") == []


def test_a_secret_is_found_at_any_place() -> None:
    """However it lies among the octets that are read as numbers, and also at both ends."""
    secrets = Secrets()
    secrets.note("eleven chars"[:11], Kind.PASSWORD)
    for before in range(16):
        for after in range(9):
            text = b"-" * before + b"eleven chars"[:11] + b"-" * after
            assert [each.place for each in secrets.found_in(text)] == [before]
    assert secrets.found_in(b"-eleven cha-eleven_char-leven char") == []


def test_a_secret_of_words_is_found_as_forms_and_pages_spell_it() -> None:
    """Percent-encoded, with plus signs, and escaped as HTML and JSON do."""
    for password in ('a "quoted" & long one', "ein längeres Wort"):
        secrets = Secrets()
        secrets.note(password, Kind.PASSWORD)
        for text in (
            *(password, password.replace('"', '\\"'), password.replace(" ", "%20").replace('"', "%22")),
            password.replace("&", "&amp;").replace('"', "&#34;").replace("&#34;", "&quot;"),
        ):
            assert secrets.found_in(text.encode()) != [], text
    assert Secrets().found_in(password.encode()) == []


def test_private_keys_are_found_by_their_form() -> None:
    """As PEM and as JWK; public ones are not."""
    from perhop.tokens.jwks import render_jwks

    key = planted_leaks.SIGNER
    assert [each.kind for each in Secrets().found_in(key.as_pem().reveal().encode())] == [Kind.PRIVATE_KEY]
    jwk = b'{"kty":"OKP","d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}'
    assert [each.kind for each in Secrets().found_in(jwk)] == [Kind.PRIVATE_KEY]
    assert Secrets().found_in(str(render_jwks([key.public()])).encode()) == []


# --- where secrets are born ------------------------------------------------------------------------------------------


def test_what_a_request_presents_is_known() -> None:
    """Bearers, Basic, the fields of forms, cookies, sessions, and every text among the arguments of a call."""
    form = (
        b"client_secret=s1&client_assertion=s2&code=s3&code_verifier=s4&password=s5&subject_token=s6&seal=s7&state=no"
    )
    headers = [
        ("Authorization", "Bearer t1"),
        ("authorization", f"Basic {base64.b64encode(b'agent:b%2B1').decode()}"),
        ("Cookie", "a=c1; b=c2"),
        ("Mcp-Session-Id", "i1"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ]
    presented = dict(secrets_in_request("/x?token=q1&other=no", headers, form))
    assert set(presented) == {*(f"s{number}" for number in range(1, 8)), "t1", "b+1", "c1", "c2", "i1", "q1"}
    call = b'{"params": {"name": "no", "arguments": {"a": "a1", "b": ["a2", {"no": "a3"}], "c": 1}}}'
    assert dict(secrets_in_request("/mcp", [], call)) == dict.fromkeys(("a1", "a2", "a3"), Kind.ARGUMENT)
    assert list(secrets_in_request("/mcp", [], b'{"arguments"')) == []


def test_what_an_answer_makes_is_known() -> None:
    """Tokens, codes, cookies, sessions, and the seals of forms."""
    headers = [("set-cookie", "a=c1; Path=/"), ("location", "https://x/?code=k1&state=no"), ("mcp-session-id", "i1")]
    page = b'<input type="hidden" name="seal" value="f1"><input type="hidden" name="request" value="no">'
    assert dict(secrets_in_answer(200, headers, page)) == {
        "c1": Kind.COOKIE,
        "k1": Kind.CODE,
        "i1": Kind.SESSION,
        "f1": Kind.SEAL,
    }
    assert list(secrets_in_answer(200, [], b'{"access_token": "t1", "scope": "no"}')) == [("t1", Kind.TOKEN)]
    refreshed = b'{"access_token": "t1", "refresh_token": "r1"}'
    assert dict(secrets_in_answer(200, [], refreshed)) == {"t1": Kind.TOKEN, "r1": Kind.REFRESH_TOKEN}


def test_exceptions_are_few_and_go_no_further() -> None:
    """A key file is one wherever it lies; a journal beside it is not, nor what a command says that only reads."""
    for path in ("test_x0/keys/signing-x.pem", "test_x0/keys/agent.secret", "test_x0/a/perhop.yaml"):
        assert kept_file(path) is not None, path
    for path in ("test_x0/journal.db", "test_x0/keys/journal.vkey", "test_x0/x.checkpoint", "test_x0/out.jsonl"):
        assert kept_file(path) is None, path
    assert tells_a_secret(("/x/perhop", "token", "issue", "--client", "agent"))
    assert tells_a_secret(("perhop", "--json", "account", "add", "ann@example.com"))
    assert not tells_a_secret(("perhop", "account", "list"))
    assert not tells_a_secret(("perhop", "serve"))
