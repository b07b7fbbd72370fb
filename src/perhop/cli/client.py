"""`perhop client`: registered clients, their standing and their use."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.output import AsJson, ConfigFile, emit, emit_json, emit_table

app = typer.Typer(no_args_is_help=True, help="Registered clients: agents, applications and servers that call on.")

Name = Annotated[str, typer.Argument(metavar="CLIENT")]


@app.command("list")
def list_(
    unused: Annotated[bool, typer.Option("--unused", help="Only clients with no permitted call on record.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List clients with owner, purpose, expiry, standing and last use."""
    rows = [row for row in look_up(config, "clients") if not unused or row["last_used"] is None]
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("CLIENT", "OWNER", "PURPOSE", "EXPIRES", "STANDING", "LAST USED"),
        (
            (row["id"], row["owner"], row["purpose"], row["expires"], row["standing"], row["last_used"] or "never")
            for row in rows
        ),
    )


@app.command()
def disable(
    name: Name,
    why: Annotated[str, typer.Option(help="The reason, for the journal.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Disable a client and revoke its tokens; it stays disabled until enabled."""
    result = carry_out(config, "standing.disable", {"kind": "client", "name": name, "why": why})
    emit(result, as_json=as_json, text=f"disabled: client {name}")


@app.command()
def enable(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Enable a client again; tokens revoked before stay revoked."""
    result = carry_out(config, "standing.enable", {"kind": "client", "name": name})
    emit(result, as_json=as_json, text=f"enabled: client {name}")
