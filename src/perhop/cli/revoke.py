"""`perhop revoke`: take back tokens by what they share, descendants along."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out
from perhop.cli.output import AsJson, ConfigFile, ExitCode, Yes, confirm, emit, say

KINDS = ("token", "agent", "subject", "resource", "tenant")


def revoke(
    token: Annotated[str | None, typer.Option(metavar="JTI|TOKEN", help="One token and all that came from it.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="CLIENT", help="Every token of this client.")] = None,
    subject: Annotated[str | None, typer.Option(metavar="SUB", help="Every token for this person or client.")] = None,
    resource: Annotated[str | None, typer.Option(metavar="NAME|URI", help="Every token for this resource.")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Every token of this tenant.")] = None,
    why: Annotated[str, typer.Option(help="The reason, for the journal.")] = "",
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Revoke tokens; takes effect at the gateway, the token endpoint and every guard whose feed is up within 2 s."""
    chosen = {
        kind: value
        for kind, value in zip(KINDS, (token, agent, subject, resource, tenant), strict=True)
        if value is not None
    }
    if len(chosen) != 1:
        say("Name exactly one of --token, --agent, --subject, --resource, --tenant.")
        raise typer.Exit(ExitCode.USAGE)
    ((kind, value),) = chosen.items()
    if kind != "token":
        confirm(f"Revoke every live token of {kind} `{value}`?", yes=yes)
    result = carry_out(config, "revoke", {"kind": kind, "value": value, "why": why})
    emit(result, as_json=as_json, text=f"revoked: {kind} {value}, {result['live']} live tokens end")
