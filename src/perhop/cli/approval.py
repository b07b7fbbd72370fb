"""`perhop approval`: calls that wait for a person, and that person's decision."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from perhop.cli.account import read_password
from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit, emit_json, emit_table
from perhop.errors import NotFound

app = command_group("Approvals: calls that wait for a person of the owner's team.")

# The id of an approval may begin with a dash, and is no option then.
_IDS = {"ignore_unknown_options": True}

Name = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id.")]


@app.command("list")
def list_(
    owner: Annotated[str | None, typer.Option("--owner", metavar="TEAM", help="Only what this team decides.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what does not wait any more.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List the calls that wait, the oldest first. What was decided or expired is kept for 30 days."""
    rows = [row for row in look_up(config, "approvals") if owner in (None, row["owner"])]
    rows = [row for row in rows if all_ or row["state"] == "waiting"]
    if as_json:
        emit_json([{name: value for name, value in row.items() if name != "params"} for row in rows])
        return
    emit_table(
        ("APPROVAL", "AGENT", "FOR", "RESOURCE", "WHAT", "TEAM", "STATE", "ASKED", "UNTIL"),
        (
            (
                row["id"],
                row["agent"],
                row["subject"],
                row["resource"],
                _what(row),
                row["owner"] or "",
                row["state"],
                row["asked"],
                row["expires"],
            )
            for row in rows
        ),
    )


@app.command(context_settings=_IDS)
def show(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Show one approval, with the exact call while it waits. What the call says is forgotten once that is decided."""
    row = next((each for each in look_up(config, "approvals") if each["id"] == name), None)
    if row is None:
        raise NotFound(f"there is no approval `{name}`", advice="run `perhop approval list --all`")
    emit(row, as_json=as_json, text=_told(row))


@app.command(context_settings=_IDS)
def decide(
    name: Name,
    email: Annotated[
        str, typer.Option("--as", metavar="EMAIL", help="The account of the person who decides.", show_default=False)
    ],
    approve: Annotated[
        bool | None, typer.Option("--approve/--deny", help="Let the call through, once; or refuse it.")
    ] = None,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the journal.")] = "",
    password_file: Annotated[
        str | None,
        typer.Option("--password-file", metavar="FILE|-", help="Take the person's password from a file, or stdin."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Approve or deny one call, as a person of the owner's team, by that person's password. An approval is good once.

    Nobody approves a call that an agent makes for themselves. A yes can be taken back until it is used.
    """
    if approve is None:
        raise typer.BadParameter("say `--approve` or `--deny`", param_hint="--approve/--deny")
    given = {"approval": name, "allow": approve, "email": email, "password": _password(email, password_file)}
    result = carry_out(config, "approval.decide", {**given, "why": why})
    once = f"; the agent has {result['expires_in']} s to repeat the call" if approve else ""
    emit(result, as_json=as_json, text=f"{result['state']}: {name}, by {result['decided_by']}{once}")


def _password(email: str, source: str | None) -> str:
    if source is not None:
        return read_password(source)
    if not sys.stdin.isatty():
        raise typer.BadParameter("without a terminal a password comes from a file or `-`", param_hint="--password-file")
    return getpass.getpass(f"Password of {email}: ")


def _what(row: Mapping[str, Any]) -> str:
    return f"{row['method']} {row['name'] or ''}".rstrip()


def _told(row: Mapping[str, Any]) -> str:
    decided = f"{row['decided']} by {row['decided_by']}" if row["decided"] else ""
    lines = (
        ("approval", row["id"]),
        ("state", row["state"]),
        ("agent", row["agent"]),
        ("for", row["subject"]),
        ("task", row["task"] or ""),
        ("resource", f"{row['resource']} ({row['audience']})"),
        ("what", _what(row)),
        ("team", row["owner"] or "none any more"),
        ("policies", ", ".join(row["policies"])),
        ("asked", row["asked"]),
        ("until", row["expires"]),
        ("decided", decided),
        ("why", row["why"]),
        ("used", row["used"] or ""),
    )
    told = [f"{name:<10}{value}" for name, value in lines if value]
    if row["params"] is not None:
        told += ["", json.dumps(row["params"], ensure_ascii=True, indent=2)]
    return "\n".join(told)
