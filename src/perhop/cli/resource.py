"""`perhop resource`: registered resources and their standing."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import look_up
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit_json, emit_table
from perhop.cli.standing import Why, disable_named, enable_named
from perhop.cli.tools import tools

app = command_group("Resources: the MCP servers that tokens are good for.")

Name = Annotated[str, typer.Argument(metavar="RESOURCE", help="The resource's name.")]


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List resources with their addresses, owner and standing."""
    rows = look_up(config, "resources")
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("RESOURCE", "URI, AND UPSTREAM", "OWNER", "RISK", "STANDING"),
        (
            (
                row["name"],
                row["uri"] + (f" -> {row['upstream']} ({row['credential']})" if row["upstream"] else ""),
                row["owner"],
                row["risk"],
                row["standing"],
            )
            for row in rows
        ),
    )


@app.command()
def disable(name: Name, why: Why = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Disable a resource and revoke its tokens. It stays disabled until it is enabled."""
    disable_named("resource", name, why=why, as_json=as_json, config=config)


@app.command()
def enable(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Enable a resource again. Tokens that were revoked stay revoked."""
    enable_named("resource", name, as_json=as_json, config=config)


app.command()(tools)
