"""How commands speak: data on stdout, talk on stderr, `--json` for programs, and one place that ends a command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from perhop.errors import SettingsError


class ExitCode(IntEnum):
    """What the exit codes of every command mean."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DENIED = 3
    AUTHENTICATION_NEEDED = 4
    REMOTE_UNREACHABLE = 5
    NOT_FOUND = 6
    CHECK_FAILED = 7


ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration file (default: perhop.yaml, else $PERHOP_CONFIG)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True)


def config_path(chosen: Path | None) -> Path:
    """The configuration file that this command works on.

    Raises: SettingsError
    """
    if chosen is not None:
        return chosen
    here = Path("perhop.yaml")
    if here.exists():
        return here
    if named := os.environ.get("PERHOP_CONFIG"):
        return Path(named)
    raise SettingsError(
        "no configuration: there is no `perhop.yaml` in this folder",
        advice="run `perhop init`, name a file with `--config FILE`, or set PERHOP_CONFIG",
    )


def say(text: str) -> None:
    """Talk to a person: stderr."""
    stderr.print(text, markup=False)


def emit_json(value: Any) -> None:
    """Data for programs: one JSON value, one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) + "\n")


def emit_lines(values: Iterable[Any]) -> None:
    """Data for programs: one JSON value a line."""
    for value in values:
        emit_json(value)


def emit_text(text: str) -> None:
    """Data as plain text."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table for people; cells are shown as they are, never read as markup."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    stdout.print(table)


def emit(value: Mapping[str, Any] | Sequence[Any], *, as_json: bool, text: str) -> None:
    """The value for programs, or the text for people."""
    if as_json:
        emit_json(value)
    else:
        emit_text(text)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; without a terminal `--yes` is needed.

    Raises: typer.Exit
    """
    if yes:
        return
    if not sys.stdin.isatty():
        say(f"{question} Say --yes to do it without a terminal.")
        raise typer.Exit(ExitCode.USAGE)
    if not typer.confirm(question, err=True):
        raise typer.Exit(ExitCode.FAILURE)
