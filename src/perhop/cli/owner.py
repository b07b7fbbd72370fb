"""`perhop owner`: who answers for what."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.output import AsJson, ConfigFile, emit, emit_json, emit_table

app = typer.Typer(no_args_is_help=True, help="Owners: the teams that answer for resources and clients.")


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List owners, their contacts and what they answer for."""
    rows = look_up(config, "owners")
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("OWNER", "CONTACT", "RESOURCES", "CLIENTS", "STANDING"),
        (
            (row["name"], row["contact"], ", ".join(row["resources"]), ", ".join(row["clients"]), row["standing"])
            for row in rows
        ),
    )


@app.command()
def enable(
    name: Annotated[str, typer.Argument(metavar="OWNER")], as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """Enable an owner that was removed from the file and put back."""
    result = carry_out(config, "standing.enable", {"kind": "owner", "name": name})
    emit(result, as_json=as_json, text=f"enabled: owner {name}")
