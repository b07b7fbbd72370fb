"""`disable` and `enable`, as clients, resources and owners have them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out
from perhop.cli.output import counted, emit

Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the journal.")]


def disable_named(kind: str, name: str, *, why: str, as_json: bool, config: Path | None) -> None:
    """Disable it, and say how many tokens ended."""
    result = carry_out(config, "standing.disable", {"kind": kind, "name": name, "why": why})
    emit(result, as_json=as_json, text=f"disabled: {kind} {name}; {counted(result['live'], 'live token')} revoked")


def enable_named(kind: str, name: str, *, as_json: bool, config: Path | None) -> None:
    """Enable it, and say if it was not disabled."""
    result = carry_out(config, "standing.enable", {"kind": kind, "name": name})
    emit(
        result,
        as_json=as_json,
        text=f"enabled: {kind} {name}" + ("" if result["was_disabled"] else " (it was enabled)"),
    )
