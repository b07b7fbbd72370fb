"""`perhop issuer`: whose assertions are taken for tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import look_up
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit_json, emit_table
from perhop.cli.standing import Why, disable_named, enable_named

app = command_group("Trusted issuers: identity providers and platforms whose assertions are taken for tokens.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name under `trusted_issuers`.")]


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List trusted issuers, what they may assert, and for which clients."""
    rows = look_up(config, "issuers")
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("NAME", "ISSUER", "KIND", "CLIENTS", "OWNER", "STANDING"),
        (
            (row["name"], row["issuer"], row["kind"], ", ".join(row["clients"]), row["owner"], row["standing"])
            for row in rows
        ),
    )


@app.command()
def disable(name: Name, why: Why = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Believe an issuer no more. Tokens of the clients that got one by its word are revoked; refresh tokens stay."""
    disable_named("issuer", name, why=why, as_json=as_json, config=config)


@app.command()
def enable(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Believe an issuer again. Tokens that were revoked stay revoked."""
    enable_named("issuer", name, as_json=as_json, config=config)
