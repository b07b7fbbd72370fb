"""`perhop revoke`: take back tokens by what they share, descendants along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from perhop.cli.carry_out import carry_out
from perhop.cli.given_token import METAVAR, read_token
from perhop.cli.options import AsJson, ConfigFile, DryRun, Yes
from perhop.cli.output import asks, confirm, counted, emit_json, emit_text, say
from perhop.cli.standing import Why

EVERYTHING = "everything"


def revoke(
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar=METAVAR,
            help="One token (- reads it), and its descendants; of a refresh token, its family.",
        ),
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
    task: Annotated[
        str | None, typer.Option("--task", metavar="ID", help="Every token of this task; see also `perhop task end`.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option("--family", metavar="ID", help="A refresh family, as `perhop trace` names it: every token of it."),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Everything that was given, as after a backup was put back: tokens, refresh tokens, sign-ins,"
            " consents, approvals and tasks. Accounts, clients and keys stay.",
        ),
    ] = False,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Revoke tokens and their descendants. Takes 2 s at most, at every guard whose feed is up too.

    What it takes here is measured by a running server: see `perhop doctor`. With --dry-run nothing is revoked, and
    what would end is counted.
    """
    named = {
        "all": EVERYTHING if everything else None,
        "token": token,
        "agent": agent,
        "subject": subject,
        "resource": resource,
        "tenant": tenant,
        "task": task,
        "family": family,
    }
    chosen = [(kind, value) for kind, value in named.items() if value is not None]
    if len(chosen) != 1:
        raise typer.BadParameter(
            "name one of --token, --agent, --subject, --resource, --tenant, --task, --family, --all"
        )
    ((kind, value),) = chosen
    if kind == "token":
        value = read_token(value)
    asked = {"kind": kind, "value": value, "why": why}
    if kind != "token" and not dry_run and asks(yes=yes):
        would = carry_out(config, "revoke", {**asked, "dry_run": True})
        confirm(f"Revoke {_name(kind, value)}: {_ends(would, 'will end')}. Go on?", yes=yes)
    result = carry_out(config, "revoke", {**asked, "dry_run": dry_run})
    if as_json:
        emit_json(result)
    else:
        _tell(result)


def _name(kind: str, value: str) -> str:
    return value if kind == "all" else f"{kind} `{value}`"


def _tell(result: dict[str, Any]) -> None:
    value = result["value"]
    named = EVERYTHING if result["kind"] == "all" else f"{result['kind']} {value}"
    if result["revoked"]:
        emit_text(f"revoked: {named}; {_ends(result, 'ended')}")
    else:
        emit_text(f"nothing was revoked: {named}; {_ends(result, 'would end')}")
    if not result["known"]:
        same = " It is revoked all the same." if result["revoked"] else ""
        say(f"Nothing known here bears the name `{value}`.{same}")


def _ends(result: Mapping[str, Any], verb: str) -> str:
    """`2 live tokens ended, with 3 open calls, 1 of them a stream without an end`."""
    ends = f"{counted(result['live'], 'live token')} {verb}"
    if result["families"]:
        ends += f", with {result['families']} refresh {'family' if result['families'] == 1 else 'families'}"
    if result["calls"]:
        ends += f", with {counted(result['calls'], 'open call')}"
    if result["streams"]:
        ends += f", {result['streams']} of them a stream without an end"
    return ends
