"""`perhop revoke`: take back tokens by what they share, descendants along."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from perhop.cli.carry_out import carry_out
from perhop.cli.options import AsJson, ConfigFile, Yes
from perhop.cli.output import confirm, counted, emit_json, emit_text, say
from perhop.cli.standing import Why


def revoke(
    token: Annotated[
        str | None, typer.Option("--token", metavar="JTI|TOKEN|-", help="One token (- reads it), and its descendants.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="CLIENT", help="Every token that this client got first.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="SUB", help="Every token for this person or client.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option("--resource", metavar="NAME|URI", help="Every token for this resource.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Every token for a resource of this tenant.")
    ] = None,
    why: Why = "",
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Revoke tokens and their descendants. Takes 2 s at most, at every guard whose feed is up too."""
    named = {"token": token, "agent": agent, "subject": subject, "resource": resource, "tenant": tenant}
    chosen = [(kind, value) for kind, value in named.items() if value is not None]
    if len(chosen) != 1:
        raise typer.BadParameter("name one of --token, --agent, --subject, --resource, --tenant")
    ((kind, value),) = chosen
    if kind == "token":
        value = (sys.stdin.read() if value == "-" else value).strip()
    else:
        confirm(f"Revoke every live token of {kind} `{value}`?", yes=yes)
    result = carry_out(config, "revoke", {"kind": kind, "value": value, "why": why})
    if as_json:
        emit_json(result)
    else:
        _tell(result)


def _tell(result: dict[str, Any]) -> None:
    emit_text(f"revoked: {result['kind']} {result['value']}; {counted(result['live'], 'live token')} ended")
    if not result["known"]:
        say(f"Nothing known here bears the name `{result['value']}`. It is revoked all the same.")
