"""`perhop owner`: who answers for what."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import look_up
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit_json, emit_table
from perhop.cli.standing import Why, disable_named, enable_named

app = command_group("Owners: who answers for resources and clients.")

Name = Annotated[str, typer.Argument(metavar="OWNER", help="The owner's name.")]


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
def disable(name: Name, why: Why = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Disable an owner. All that it answers for stands still, and its tokens are revoked."""
    disable_named("owner", name, why=why, as_json=as_json, config=config)


@app.command()
def enable(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Enable an owner again. Tokens that were revoked stay revoked."""
    enable_named("owner", name, as_json=as_json, config=config)
