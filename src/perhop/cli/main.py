"""`perhop`: the table of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import perhop
from perhop.cli import account, client, config, journal, key, owner, policy, resource, token
from perhop.cli.demo import demo
from perhop.cli.doctor import doctor
from perhop.cli.init import init
from perhop.cli.output import ExitCode, emit_text, say
from perhop.cli.revoke import revoke
from perhop.cli.serve import serve
from perhop.cli.trace import trace
from perhop.control.socket import RemoteFailure
from perhop.errors import OperatorError, Refused, Unavailable

EXIT_CODES = """Exit codes: 0 ok, 1 failure, 2 usage, 3 denied, 4 authentication needed, 5 remote unreachable,
6 not found, 7 a check found problems."""

app = typer.Typer(
    name="perhop",
    help="Authorization for MCP with one token per hop.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS = (init, serve, demo, doctor, revoke, trace)
GROUPS = {
    "account": account.app,
    "config": config.app,
    "token": token.app,
    "resource": resource.app,
    "client": client.app,
    "owner": owner.app,
    "key": key.app,
    "policy": policy.app,
    "journal": journal.app,
}

for command in COMMANDS:
    app.command()(command)
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
    """The entry point."""
    try:
        app()
    except RemoteFailure as error:
        _fail(error.problem, error.advice(), error.code)
    except OperatorError as error:
        _fail(error.problem, error.advice(), error.exit_code)
    except Refused as error:
        _fail(f"{error.reason}: {error.detail or error.description}", "", ExitCode.DENIED)
    except Unavailable as error:
        _fail(f"{error.reason}: {error.detail}", "", ExitCode.REMOTE_UNREACHABLE)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(problem: str, advice: str, code: int) -> None:
    say(f"error: {problem}")
    if advice:
        say(f"  {advice}")
    sys.exit(code)
