"""`perhop client`: registered clients, their standing and their use."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.journal_file import open_reader, tell_archived
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit, emit_json, emit_table
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
    """List clients with owner, purpose, standing and last use. Also those that are not in the configuration.

    Their ORIGIN is `document`, a document at the URL that is their id, or `registration`. STANDING `waiting`: it
    registered itself, and waits until somebody adopts it.
    """
    with open_reader(config, None) as reader:
        tell_archived(reader)
    rows = [row for row in look_up(config, "clients") if not unused or row["last_used"] is None]
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("CLIENT", "OWNER", "PURPOSE", "EXPIRES", "STANDING", "ORIGIN", "LAST USED"),
        (
            (
                row["id"],
                row["owner"] or "",
                row["purpose"],
                row["expires"] or "",
                row["standing"],
                row["origin"],
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


@app.command()
def adopt(
    name: Name,
    owner: Annotated[str, typer.Option("--owner", metavar="TEAM", help="Who answers for it.", show_default=False)],
    reach: Annotated[
        list[str],
        typer.Option(
            "--reach",
            metavar="RESOURCE=SCOPE",
            help="What it may ask for; once for each resource and scope.",
            show_default=False,
        ),
    ],
    expires: Annotated[
        str,
        typer.Option("--expires", metavar="DAY", help="The last day on which it is given tokens.", show_default=False),
    ],
    purpose: Annotated[
        str | None, typer.Option("--purpose", metavar="TEXT", help="What it is for (default: the name it gave itself).")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Answer for a client that registered itself: from now on people can allow it what it reaches."""
    given = {"client": name, "owner": owner, "reaches": _reaches(reach), "expires": expires, "purpose": purpose}
    result = carry_out(config, "client.adopt", given)
    emit(result, as_json=as_json, text=f"adopted: client {name}, by {owner}, until {expires}")


@app.command()
def reject(name: Name, why: Why = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Forget a client that registered itself and waits. One that was adopted is disabled instead."""
    result = carry_out(config, "client.reject", {"client": name, "why": why})
    emit(result, as_json=as_json, text=f"rejected: client {name}")


def _reaches(given: list[str]) -> dict[str, list[str]]:
    reaches: dict[str, list[str]] = {}
    for each in given:
        resource, separator, scope = each.partition("=")
        if not (resource and separator and scope):
            raise typer.BadParameter(f"`{each}` is not RESOURCE=SCOPE", param_hint="--reach")
        reaches.setdefault(resource, []).append(scope)
    return reaches
