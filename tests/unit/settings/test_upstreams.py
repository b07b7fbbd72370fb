"""Upstreams in the configuration: one at a URL or one that is run, and every value in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from perhop.core.resource import CredentialKind, LocalCommand, Upstream
from perhop.core.secret import Secret
from perhop.errors import SettingsError
from perhop.settings import Settings, check, load, schema, show
from perhop.settings.load import render
from perhop.settings.sources import read_file
from tests.support.certificates import make_ca
from tests.support.configuration import load_example, write_example

AT_A_URL = """\
      url: http://127.0.0.1:9001/mcp
      resource: http://127.0.0.1:9001/mcp
      credential: {kind: exchange}
"""
COMMAND = "      command: [python, server.py, --fast]\n      credential: {kind: none}\n"


def with_upstream(*lines: str, start: str = COMMAND) -> tuple[str, str]:
    return AT_A_URL, start + "".join(f"      {line}\n" for line in lines)


def upstream_of(settings: Settings) -> Upstream:
    upstream = settings.registry.resources["calendar"].upstream
    assert upstream is not None
    return upstream


def test_a_command_needs_nothing_else(tmp_path: Path) -> None:
    """It runs in the folder of the file, with an environment of nothing, and has every default."""
    upstream = upstream_of(load_example(tmp_path, with_upstream()))
    assert upstream == Upstream(
        command=LocalCommand(words=("python", "server.py", "--fast"), folder=str(tmp_path)),
        resource=None,
        credential=CredentialKind.NONE,
    )
    assert upstream.place == "python server.py --fast"


def test_every_key_of_a_command_is_taken(tmp_path: Path) -> None:
    """Folder, variables of file and section, and times are as they are written."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server.env").write_text("# keys\n\nAPI_KEY=a = b \r\nEMPTY=\n", encoding="utf-8")
    lines = (
        "folder: server",
        "environment: {MODE: quiet}",
        "environment_file: server.env",
        "answer_timeout: 7",
        "start_timeout: 8",
        "max_sessions: 9",
        "session_idle: 10",
    )
    upstream = upstream_of(load_example(tmp_path, with_upstream(*lines)))
    assert upstream.command == LocalCommand(
        words=("python", "server.py", "--fast"),
        folder=str(tmp_path / "server"),
        environment={"MODE": Secret("quiet"), "API_KEY": Secret("a = b "), "EMPTY": Secret("")},
        start_timeout=8,
        max_sessions=9,
        session_idle=10,
    )
    assert upstream.answer_timeout == 7


def test_every_key_of_a_url_is_taken(tmp_path: Path) -> None:
    """Times and the circuit are as they are written."""
    lines = ("connect_timeout: 1", "answer_timeout: 2", "circuit_failures: 3", "circuit_seconds: 4")
    upstream = upstream_of(load_example(tmp_path, with_upstream(*lines, start=AT_A_URL)))
    assert upstream == replace(
        upstream, connect_timeout=1, answer_timeout=2, circuit_failures=3, circuit_seconds=4, ca_certificates=None
    )


def test_a_variable_of_ours_overrides_one_of_the_server(tmp_path: Path) -> None:
    """A secret need not stand in the file: `PERHOP_...` gives it."""
    file = write_example(tmp_path, with_upstream("environment: {API_KEY: none}"))
    name = "PERHOP_RESOURCES__CALENDAR__UPSTREAM__ENVIRONMENT__API_KEY"
    command = upstream_of(load(file, {name: "123"})).command
    assert command is not None
    assert command.environment == {"API_KEY": Secret("123")}


def test_local_servers_inherit_harmless_variables_only(tmp_path: Path) -> None:
    """Of our environment a few names are taken along, and nothing else."""
    settings = load(write_example(tmp_path), {"PATH": "/bin", "HOME": "/root", "AWS_SECRET": "x"})
    assert settings.inherited == {"PATH": "/bin", "HOME": "/root"}


def test_values_of_variables_are_shown_nowhere(tmp_path: Path) -> None:
    """Neither `show` nor the value's text tells a variable, and what is shown loads again."""
    file = write_example(tmp_path, with_upstream("environment: {API_KEY: very-secret}"))
    shown = show(file, {})
    assert shown["resources"]["calendar"]["upstream"]["environment"] == {"API_KEY": "(redacted)"}
    assert "very-secret" not in render(shown) + repr(load(file, {}))
    file.write_text(render(shown), encoding="utf-8")
    assert check(file, {}) == ()


@pytest.mark.parametrize(
    ("lines", "start", "below", "problem"),
    [
        ((), "      credential: {kind: none}\n", -1, "`resources.calendar.upstream` has neither `url` nor `command`"),
        (("url: http://127.0.0.1:1/mcp",), COMMAND, -1, "`resources.calendar.upstream` has both `url` and `command`"),
        ((), "      command: []\n      credential: {kind: none}\n", 0, "`resources.calendar.upstream.command` must"),
        ((), "      command: run me\n      credential: {kind: none}\n", 0, "`resources.calendar.upstream.command`"),
        ((), COMMAND.replace("none", "exchange"), 1, "is `exchange` for a `command`, which can be given no token"),
        ((), COMMAND.replace("none", "call"), 1, "is `call` for a `command`, which can be given no token"),
        (("resource: http://127.0.0.1:1/mcp",), COMMAND, 2, ".upstream.resource` does not go with `command`"),
        (("unsafe_open_upstream: true",), COMMAND, 2, ".unsafe_open_upstream` does not go with `command`"),
        (("ca_file: ca.pem",), COMMAND, 2, ".upstream.ca_file` does not go with `command`"),
        (("connect_timeout: 5",), COMMAND, 2, ".upstream.connect_timeout` does not go with `command`"),
        (("circuit_failures: 5",), COMMAND, 2, ".upstream.circuit_failures` does not go with `command`"),
        (("circuit_seconds: 5",), COMMAND, 2, ".upstream.circuit_seconds` does not go with `command`"),
        (("folder: nowhere",), COMMAND, 2, "is not a folder"),
        (("environment: {1A: b}",), COMMAND, 2, "`1A` is not the name of a variable"),
        (("environment: {PORT: 8080}",), COMMAND, 2, "must be text; put it in quotes"),
        (("environment_file: nowhere.env",), COMMAND, 2, "nowhere.env` cannot be read"),
        (("environment_file: bad.env",), COMMAND, 2, "bad.env`: line 2 is not `NAME=value`"),
        (("environment: {A: x}", "environment_file: good.env"), COMMAND, 3, "`A` stands twice"),
        (("max_sessions: 0",), COMMAND, 2, "`resources.calendar.upstream.max_sessions`"),
        (("session_idle: 0",), COMMAND, 2, "`resources.calendar.upstream.session_idle`"),
        (("folder: .",), AT_A_URL, 3, ".upstream.folder` does not go with `url`"),
        (("environment: {A: b}",), AT_A_URL, 3, ".upstream.environment` does not go with `url`"),
        (("environment_file: good.env",), AT_A_URL, 3, ".upstream.environment_file` does not go with `url`"),
        (("start_timeout: 1",), AT_A_URL, 3, ".upstream.start_timeout` does not go with `url`"),
        (("max_sessions: 1",), AT_A_URL, 3, ".upstream.max_sessions` does not go with `url`"),
        (("session_idle: 1",), AT_A_URL, 3, ".upstream.session_idle` does not go with `url`"),
        (("ca_file: nowhere.pem",), AT_A_URL.replace("http:", "https:"), 3, "nowhere.pem` cannot be read"),
        (("ca_file: good.env",), AT_A_URL.replace("http:", "https:"), 3, "good.env` cannot be read: it holds no"),
        (("ca_file: good.env",), AT_A_URL, 3, ".upstream.ca_file` is for a `url` that is https"),
        (("answer_timeout: 0",), AT_A_URL, 3, "`resources.calendar.upstream.answer_timeout`"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told(
    tmp_path: Path, lines: tuple[str, ...], start: str, below: int, problem: str
) -> None:
    """Each mistake is refused at its line, and the value of no variable is told."""
    (tmp_path / "good.env").write_text("A=hidden-value\n", encoding="utf-8")
    (tmp_path / "bad.env").write_text("A=hidden-value\nhidden-line\n", encoding="utf-8")
    file = write_example(tmp_path, with_upstream(*lines, start=start))
    first = file.read_text(encoding="utf-8").splitlines().index("    upstream:") + 2
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    told = [line for line in caught.value.problem.splitlines() if problem in line]
    assert told, caught.value.problem
    assert told[0].startswith(f"{file}:{first + below}: ")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("start", ["      credential: {kind: none}\n", f"{COMMAND}      url: http://127.0.0.1:1/mcp\n"])
def test_the_schema_wants_exactly_one_way(tmp_path: Path, start: str) -> None:
    """An editor that knows the schema shows an upstream that has no way, and one that has two."""
    jsonschema.validate(read_file(write_example(tmp_path, with_upstream())).values, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_file(write_example(tmp_path, with_upstream(start=start))).values, schema())


def test_certificates_are_read_when_the_file_is(tmp_path: Path) -> None:
    """The upstream holds the certificates themselves, so that others in the same file make it another upstream."""
    certificate, _ = make_ca(tmp_path)
    changes = with_upstream("ca_file: ca.pem", start=AT_A_URL.replace("http:", "https:"))
    (tmp_path / "ca.pem").write_text(certificate, encoding="ascii")
    one = upstream_of(load_example(tmp_path, changes))
    (tmp_path / "ca.pem").write_text("\n" + certificate, encoding="ascii")
    assert one != upstream_of(load_example(tmp_path, changes))
