"""The command line before any command: help, speed, mistyped lines, and what nobody planned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from perhop.cli.main import app
from perhop.control.socket import is_answered
from tests.support.commands import clean_environment, perhop
from tests.support.installations import PERHOP

COMMANDS = {
    *("apply", "init", "serve", "demo", "doctor", "revoke", "trace", "client-config", "token issue", "token inspect"),
    *("blast-radius", "incident"),
    *("account add", "account list", "account disable", "account enable", "account password"),
    *("approval list", "approval show", "approval decide"),
    *("config schema", "config check", "config show", "key list", "key rotate"),
    *(f"policy {verb}" for verb in ("check", "test", "explain", "replay", "list", "show", "diff")),
    *(f"policy {verb}" for verb in ("propose", "approve", "rollback")),
    *(f"{kind} {verb}" for kind in ("resource", "client", "owner") for verb in ("list", "disable", "enable")),
    *(
        f"journal {verb}"
        for verb in ("verify", "verify-bundle", "tail", "query", "prove", "export", "reconcile", "archive")
    ),
    *("resource tools", "client adopt", "client reject", "grant list", "grant revoke"),
    *(f"issuer {verb}" for verb in ("list", "disable", "enable")),
    *(f"task {verb}" for verb in ("list", "show", "end")),
}

HEAVY = {
    *("aiohttp", "alembic", "asyncio", "cedarpy", "cryptography", "fastmcp", "httpx2", "jinja2", "joserfc", "mcp"),
    *("pydantic", "rich", "sqlalchemy", "sqlite3", "starlette", "uvicorn", "yaml"),
}


def _commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


ALL = dict(_commands(typer.main.get_command(app)))


def test_the_commands_are_these() -> None:
    """Nothing is missing, and nothing is there that is not built."""
    assert set(ALL) == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_says_what_it_does(name: str) -> None:
    """Command, arguments and options all have their words, and the first sentence fits into a list of commands."""
    command = ALL[name]
    assert len(command.help.partition(". ")[0]) <= 100
    assert [each.name for each in command.params if not getattr(each, "help", "x")] == []


@pytest.mark.parametrize("name", sorted(COMMANDS - {"serve"}))
def test_every_command_speaks_json(name: str) -> None:
    """`--json` is accepted everywhere."""
    assert any("--json" in each.opts for each in ALL[name].params)


def test_help_loads_nothing_that_help_does_not_need() -> None:
    """Listing the commands imports no server, no database and no cryptography."""
    code = "import sys, perhop.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == set()


def test_the_installed_command_runs(tmp_path: Path) -> None:
    """`perhop --version` of the installed distribution answers, and `perhop` alone shows what there is."""
    done = subprocess.run([PERHOP, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("perhop ")
    assert perhop(folder=tmp_path).code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("nosuch",),
        ("client", "nosuch"),
        ("client", "list", "--nosuch"),
        ("token", "issue", "--client", "x"),
        ("trace",),
        ("revoke",),
        ("revoke", "--token", "a", "--agent", "b"),
        ("journal", "prove"),
        ("journal", "tail", "-n", "-1"),
        ("account", "add", "a@example.com", "--password-file", "/no/such/file"),
    ],
)
def test_a_mistyped_line_is_a_usage_error(words: tuple[str, ...], folder: Path) -> None:
    """Exit code 2, nothing on stdout, and a word on stderr."""
    ran = perhop(*words, folder=folder)
    assert (ran.code, ran.out) == (2, "")
    assert "Error" in ran.err


@pytest.mark.parametrize("words", [("serve",), ("doctor",), ("client", "list"), ("config", "check"), ("trace", "x")])
def test_without_a_configuration_the_way_to_one_is_told(words: tuple[str, ...], tmp_path: Path) -> None:
    """Where nothing was made, the error says how to make it."""
    ran = perhop(*words, folder=tmp_path)
    assert ran.code == 2
    assert "no configuration" in ran.err
    assert "perhop init" in ran.err


def test_the_configuration_is_named_by_variable_and_by_option(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config` wins over the folder, and the folder over $PERHOP_CONFIG."""
    monkeypatch.setenv("PERHOP_CONFIG", str(folder / "perhop.yaml"))
    assert perhop("client", "list", "--json", folder=tmp_path).code == 0
    (tmp_path / "perhop.yaml").write_text("nonsense: 1\n", encoding="utf-8")
    assert perhop("client", "list", folder=tmp_path).code == 2
    named = perhop("client", "list", "--config", str(folder / "perhop.yaml"), folder=tmp_path)
    assert named.code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "--config", "CONFIG", "client", "list"),
        ("--config=CONFIG", "client", "--json", "list"),
        ("client", "--json", "list", "--config", "CONFIG"),
        ("client", "list", "--config=CONFIG", "--json"),
    ],
)
def test_shared_options_stand_anywhere(words: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    """Before the group, between group and command, and behind the command."""
    placed = (word.replace("CONFIG", str(folder / "perhop.yaml")) for word in words)
    assert [each["id"] for each in perhop(*placed, folder=tmp_path).json] == ["planner", "idler"]


def _in_shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """One line of a shell in which `$perhop` is the command."""
    environ = clean_environment() | {"perhop": str(PERHOP)} | environment
    return subprocess.run(["bash", "-c", line], cwd=folder, env=environ, capture_output=True, check=False)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["journal verify", "journal query", "journal export", "--help"])
def test_a_full_disk_behind_stdout_is_told(words: str, unbuffered: str, folder: Path) -> None:
    """What is printed and cannot be written is a failure that names its cause, once."""
    ran = _in_shell(f'"$perhop" {words} >/dev/full', folder, PYTHONUNBUFFERED=unbuffered)
    assert (ran.returncode, ran.stderr) == (1, b"error: stdout cannot be written: No space left on device\n")


@pytest.mark.parametrize("verb", ["query", "export"])
def test_who_stops_reading_hears_no_complaint(verb: str, folder: Path) -> None:
    """A pipe into `head` has read enough; nothing is said of it."""
    ran = _in_shell(f'"$perhop" journal {verb} --json | true', folder)
    assert ran.stderr == b""


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_command_runs_with_its_streams_closed(closed: str, folder: Path) -> None:
    """What nobody wants to see is thrown away; the exit code is the command's."""
    ran = _in_shell(f'"$perhop" journal verify {closed}', folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_arguments_that_are_no_text_are_refused(folder: Path) -> None:
    """A byte that is not UTF-8 is a usage error that says which argument, and nothing is printed of it."""
    ran = _in_shell("\"$perhop\" journal query --txn $'\\xff'", folder)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr.startswith(b"error: argument 4 is not UTF-8")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("journal", "query", "--since", "0001-01-01T00:00:00+14:00"), 2),
        (("journal", "query", "--until", "9999-12-31T23:59:59-14:00"), 2),
        (("journal", "archive", "--keep", "999999"), 2),
        (("journal", "export", "--first", "99999999999999999999"), 2),
        (("journal", "prove", "99999999999999999999"), 6),
    ],
)
def test_numbers_and_times_out_of_all_bounds_are_mistakes_of_the_line(
    words: tuple[str, ...], code: int, folder: Path
) -> None:
    """Neither the calendar's end nor a number that no file can hold is a mistake in perhop."""
    ran = perhop(*words, folder=folder)
    assert (ran.code, ran.out) == (code, "")
    assert "mistake in perhop" not in ran.err


async def test_where_a_folder_is_a_file_no_server_answers(tmp_path: Path) -> None:
    """A control socket that cannot be there is one that nobody listens on."""
    (tmp_path / "file").touch()
    assert not await is_answered(tmp_path / "file" / "control.sock")


def _boom(*flags: str) -> subprocess.CompletedProcess[str]:
    code = """\
import sys
import perhop.cli.main as entry
def boom() -> None: raise RuntimeError("the password is hunter2")
entry.app.command()(boom)
sys.argv = ["perhop", "boom"]
entry.main()
"""
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=False)


def test_what_nobody_planned_tells_no_secret() -> None:
    """An unexpected exception is one line with its place, without its words, and how to see more."""
    done = _boom()
    assert done.returncode == 1
    assert "RuntimeError at <string>:3" in done.stderr
    assert "PYTHONDEVMODE" in done.stderr
    assert "hunter2" not in done.stderr
    assert "hunter2" in _boom("-X", "dev").stderr


def test_without_the_server_parts_the_command_says_so() -> None:
    """Installed without extras there are libraries; the command then names what to install."""
    code = "import sys; sys.modules['typer'] = None; from perhop.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install '/path/to/perhop[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_who_leaves_is_no_mistake(folder: Path) -> None:
    """`perhop ... | head -c 1` ends without a stack."""
    line = f"{PERHOP} config schema | head -c 1"
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, env=clean_environment())
    assert "Traceback" not in done.stderr
