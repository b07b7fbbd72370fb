"""`perhop`: the table of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import perhop
from perhop.cli import (
    account,
    approval,
    client,
    config,
    grant,
    issuer,
    journal,
    key,
    owner,
    policy,
    resource,
    task,
    token,
)
from perhop.cli.apply import apply
from perhop.cli.blast_radius import blast_radius
from perhop.cli.client_config import client_config
from perhop.cli.demo import demo
from perhop.cli.doctor import doctor
from perhop.cli.incident import incident
from perhop.cli.init import init
from perhop.cli.options import CommandGroup
from perhop.cli.output import emit_text, say
from perhop.cli.revoke import revoke
from perhop.cli.serve import serve
from perhop.cli.trace import trace
from perhop.control.failure import ExitCode, failure_of
from perhop.errors import PerhopError, SettingsError

EXIT_CODES = """Exit codes: 0 ok, 1 failure, 2 usage, 3 denied, 4 authentication needed, 5 remote unreachable,
6 not found, 7 a check found problems."""

app = typer.Typer(
    name="perhop",
    cls=CommandGroup,
    help="Authorization for MCP with one token per hop.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS = (init, serve, demo, doctor, apply, revoke, client_config)
GROUPS = {
    "account": account.app,
    "config": config.app,
    "token": token.app,
    "resource": resource.app,
    "client": client.app,
    "owner": owner.app,
    "issuer": issuer.app,
    "grant": grant.app,
    "task": task.app,
    "key": key.app,
    "policy": policy.app,
    "approval": approval.app,
    "journal": journal.app,
}

for command in COMMANDS:
    app.command()(command)
# A token's id may begin with a dash, and is no option then.
app.command(context_settings={"ignore_unknown_options": True})(trace)
app.command(context_settings={"ignore_unknown_options": True})(incident)
app.command(name="blast-radius")(blast_radius)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def _print_version(wanted: bool) -> None:
    if wanted:
        emit_text(f"perhop {perhop.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Authorization for MCP with one token per hop."""


def main() -> None:
    """Run one command line."""
    _open_closed_streams()
    out = _watch_stdout()
    for stream in (sys.stdout, sys.stderr):
        # Whatever the locale cannot write is escaped, and no command fails half way for the want of a letter.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a TextIOWrapper, when not replaced
    try:
        _run(out)
    except SystemExit as ended:
        with contextlib.suppress(OSError):  # remembered
            sys.stdout.flush()
        if out.fault is None:
            raise
        # What is left in the buffer cannot be written either, and the interpreter would say so once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        if not isinstance(out.fault, BrokenPipeError):  # who stops reading has read enough
            say(f"error: stdout cannot be written: {out.fault.strerror}")
        sys.exit(ended.code or ExitCode.FAILURE)


class _Out(io.FileIO):
    """Standard output, which remembers why it could not be written: of an exception alone nobody can tell."""

    fault: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.fault = error
            raise


def _watch_stdout() -> _Out:
    """Put what remembers in the place of stdout, unless that was replaced already."""
    out, before = _Out(1, "w", closefd=False), sys.stdout
    if before is sys.__stdout__ and isinstance(before, io.TextIOWrapper) and before.fileno() == 1:
        sys.stdout = io.TextIOWrapper(
            # Unbuffered, as Python does it: what is told on stderr between two lines comes between them.
            out if before.write_through else io.BufferedWriter(out),
            encoding=before.encoding,
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )
    return out


def _run(out: _Out) -> None:
    try:
        _check_arguments(sys.argv[1:])
        app()
    except PerhopError as error:
        if out.fault is not None and error.__cause__ is out.fault:
            sys.exit(ExitCode.FAILURE)  # told by the caller
        failure = failure_of(error)
        _fail(failure.problem, failure.advice, failure.exit_code)
    except Exception as error:
        if error is out.fault:
            sys.exit(ExitCode.FAILURE)
        # The edge: a stack, and the words of an exception that nobody planned, may hold a secret.
        if sys.flags.dev_mode:
            raise
        _fail(f"unexpected {_place(error)}", "this is a mistake in perhop; PYTHONDEVMODE=1 shows more", 1)


def _open_closed_streams() -> None:
    """What the caller closed is as good as thrown away; and no file that is opened later gets its number."""
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 - they stay open to the end
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _check_arguments(words: Sequence[str]) -> None:
    """Raises: SettingsError."""
    for number, word in enumerate(words, start=1):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise SettingsError(f"argument {number} is not UTF-8", advice="write it as UTF-8") from None


def _place(error: Exception) -> str:
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}"


def _fail(problem: str, advice: str, code: int) -> None:
    say(f"error: {problem}")
    if advice:
        say(f"  {advice}")
    sys.exit(ExitCode(code))
