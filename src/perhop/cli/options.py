"""Options that many commands share, and the group that lets them stand anywhere behind `perhop`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from perhop.errors import OperatorError, SettingsError

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration file (default: perhop.yaml, else $PERHOP_CONFIG)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would change.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]

_FLAGS = frozenset({"--json", "--yes"})
_VALUED = frozenset({"--config"})


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


def parse_moment(text: str | None, option: str) -> str | None:
    """The time that an option names, as the journal writes it; wrong use of the option if it is none."""
    from perhop.journal.query import parse_time

    try:
        return parse_time(text) if text is not None else None
    except OperatorError as error:
        raise typer.BadParameter(f"{error.problem}; {error.advice()}", param_hint=option) from error


class CommandGroup(TyperGroup):
    """A group of commands before whose names shared options may stand: `perhop --json client list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _behind_the_command(args))


def _behind_the_command(args: Sequence[str]) -> list[str]:
    """The same words with the shared options that lead them moved behind the command's name."""
    at = 0
    while at < len(args):
        word = args[at]
        if word in _FLAGS or any(word.startswith(f"{option}=") for option in _VALUED):
            at += 1
        elif word in _VALUED and at + 1 < len(args):
            at += 2
        else:
            break
    if at == len(args) or args[at].startswith("-"):
        return list(args)
    return [args[at], *args[:at], *args[at + 1 :]]


def command_group(about: str) -> typer.Typer:
    """A group of commands that says what it is about."""
    return typer.Typer(cls=CommandGroup, no_args_is_help=True, help=about)
