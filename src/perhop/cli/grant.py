"""`perhop grant`: what people have allowed clients, and taking it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.options import AsJson, ConfigFile, DryRun, Yes, command_group
from perhop.cli.output import asks, confirm, counted, emit, emit_json, emit_table
from perhop.cli.standing import Why

app = command_group("Grants: what people have allowed clients.")

Person = Annotated[
    str | None, typer.Option("--person", metavar="EMAIL|SUB", help="Only of this person, by address or `user:...`.")
]
Client = Annotated[str | None, typer.Option("--client", metavar="ID", help="Only for this client.")]
At = Annotated[str | None, typer.Option("--resource", metavar="NAME|URI", help="Only at this resource.")]


@app.command("list")
def list_(
    person: Person = None,
    client: Client = None,
    resource: At = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List consents, and refresh families in force, with when a client last got a token by them."""
    rows = [
        row
        for row in look_up(config, "grants")
        if person in (None, row["subject"], row["email"])
        and client in (None, row["client"])
        and resource in (None, row["resource"], row["uri"])
    ]
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("PERSON", "CLIENT", "RESOURCE", "SCOPES", "SINCE", "LAST USED", "REFRESH FAMILIES"),
        (
            (
                row["email"] or row["subject"],
                row["client"],
                row["resource"] or row["uri"],
                " ".join(row["scopes"]),
                row["since"],
                row["last_used"] or "",
                str(len(row["families"])),
            )
            for row in rows
        ),
    )


@app.command()
def revoke(
    person: Person = None,
    client: Client = None,
    resource: At = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Take consents back, and end their refresh families and tokens: those that all options given name."""
    if person is None and client is None and resource is None:
        raise typer.BadParameter("name at least one of --person, --client, --resource")
    asked = {"person": person, "client": client, "resource": resource, "why": why}
    if not dry_run and asks(yes=yes):
        would = carry_out(config, "grant.revoke", {**asked, "dry_run": True})
        confirm(f"Take back {counted(len(would['grants']), 'grant')}. Go on?", yes=yes)
    result = carry_out(config, "grant.revoke", {**asked, "dry_run": dry_run})
    emit(result, as_json=as_json, text=_told(result))


def _told(result: Mapping[str, Any]) -> str:
    lines = [f"{each['subject']} for {each['client']} at {each['resource']}" for each in result["grants"]]
    found = counted(len(lines), "grant")
    if not result["revoked"]:
        return "\n".join((f"nothing was revoked: {found} would be", *lines))
    families = "1 refresh family" if result["families"] == 1 else f"{result['families']} refresh families"
    return "\n".join((f"revoked: {found}, with {families} and {counted(result['live'], 'live token')}", *lines))
