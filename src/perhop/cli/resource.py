"""`perhop resource`: registered resources and their standing."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.output import AsJson, ConfigFile, emit, emit_json, emit_table

app = typer.Typer(no_args_is_help=True, help="Registered resources: the MCP servers that tokens are good for.")

Name = Annotated[str, typer.Argument(metavar="RESOURCE")]


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List resources with their two addresses, owner, risk and standing."""
    rows = look_up(config, "resources")
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("RESOURCE", "URI", "UPSTREAM", "CREDENTIAL", "OWNER", "RISK", "STANDING"),
        (
            (row["name"], row["uri"], row["upstream"], row["credential"], row["owner"], row["risk"], row["standing"])
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
    """Disable a resource and revoke its tokens; it stays disabled until enabled."""
    result = carry_out(config, "standing.disable", {"kind": "resource", "name": name, "why": why})
    emit(result, as_json=as_json, text=f"disabled: resource {name}")


@app.command()
def enable(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Enable a resource again; tokens revoked before stay revoked."""
    result = carry_out(config, "standing.enable", {"kind": "resource", "name": name})
    emit(result, as_json=as_json, text=f"enabled: resource {name}")
