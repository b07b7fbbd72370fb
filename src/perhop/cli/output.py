"""How commands speak: data on stdout, talk on stderr, `--json` for programs.

Nothing is coloured; the one thing that moves, and only at a terminal, is the line that says what takes so long.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from perhop.cli.table import lay_out, printable
from perhop.control.failure import ExitCode


def terminal_width() -> int | None:
    """How wide stdout is; None where it is no terminal, and lines may be as long as they are."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(text: str) -> None:
    """Talk to a person: stderr."""
    sys.stderr.write("\n".join(printable(line) for line in text.split("\n")) + "\n")


def emit_json(value: Any) -> None:
    """Data for programs: one JSON value, one line. ASCII, so that no locale and no stray surrogate can break it."""
    sys.stdout.write(json.dumps(value) + "\n")


def emit_lines(values: Iterable[Any]) -> None:
    """Data for programs: one JSON value a line."""
    for value in values:
        emit_json(value)


def emit_text(text: str) -> None:
    """Data as plain text."""
    sys.stdout.write("\n".join(printable(line) for line in text.removesuffix("\n").split("\n")) + "\n")


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people."""
    for line in lay_out(columns, rows, width=terminal_width()):
        sys.stdout.write(line + "\n")


def emit(value: Mapping[str, Any] | Sequence[Any], *, as_json: bool, text: str) -> None:
    """The value for programs, or the text for people."""
    if as_json:
        emit_json(value)
    else:
        emit_text(text)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Say what takes so long while the block runs, and let it be updated; says nothing without a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True, highlight=False).status(text) as status:
        yield status.update


def asks(*, yes: bool) -> bool:
    """True if there is somebody to ask, who has not answered already."""
    return not yes and sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone. Without a terminal there is nobody to ask, and it is done.

    Raises: typer.Exit
    """
    if not asks(yes=yes):
        return
    if not typer.confirm(question, err=True):
        say("nothing was done")
        raise typer.Exit(ExitCode.FAILURE)


def counted(count: int, noun: str) -> str:
    """`1 live token`, `2 live tokens`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
