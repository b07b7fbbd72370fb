"""`perhop client`: registered clients, their standing and their use."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import look_up
from perhop.cli.journal_file import open_reader, tell_archived
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit_json, emit_table
from perhop.cli.standing import Why, disable_named, enable_named

app = command_group("Clients: agents, applications, servers that call on.")

Name = Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.")]


@app.command("list")
def list_(
    unused: Annotated[
        bool, typer.Option("--unused", help="Only clients with no permitted call in the journal's file.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List clients with owner, purpose, standing and last use."""
    with open_reader(config, None) as reader:
        tell_archived(reader)
    rows = [row for row in look_up(config, "clients") if not unused or row["last_used"] is None]
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("CLIENT", "OWNER", "PURPOSE", "EXPIRES", "STANDING", "LAST USED"),
        (
            (
                row["id"],
                row["owner"],
                row["purpose"],
                row["expires"],
                row["standing"],
                (row["last_used"] or "never")[:10],
            )
            for row in rows
        ),
    )


@app.command()
def disable(name: Name, why: Why = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Disable a client and revoke its tokens. It stays disabled until it is enabled."""
    disable_named("client", name, why=why, as_json=as_json, config=config)


@app.command()
def enable(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Enable a client again. Tokens that were revoked stay revoked."""
    enable_named("client", name, as_json=as_json, config=config)
