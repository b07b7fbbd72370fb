"""`perhop task`: what agents said they are about to do, how far they got, and ending it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import counted, emit, emit_json, emit_table
from perhop.cli.standing import Why
from perhop.errors import NotFound

app = command_group("Tasks: what agents said they are about to do, and how far they got.")

# The id of a task may begin with a dash, and is no option then.
_IDS = {"ignore_unknown_options": True}

Name = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.")]


@app.command("list")
def list_(
    client: Annotated[str | None, typer.Option("--client", metavar="ID", help="Only tasks of this client.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List tasks with client, person, state and what was counted. Those that are over are kept for 30 days."""
    rows = [row for row in look_up(config, "tasks") if client in (None, row["client"])]
    rows = [row for row in rows if all_ or row["state"] == "in force"]
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("TASK", "CLIENT", "FOR", "PURPOSE", "STATE", "CALLS", "WRITES", "EXPIRES"),
        (
            (
                row["id"],
                row["client"],
                row["subject"],
                row["purpose"],
                row["state"],
                _used(row, "calls"),
                _used(row, "writes"),
                row["expires"],
            )
            for row in rows
        ),
    )


@app.command(context_settings=_IDS)
def show(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Show one task: its purpose, tools and limits, who approved it, and what was counted."""
    row = next((each for each in look_up(config, "tasks") if each["id"] == name), None)
    if row is None:
        raise NotFound(f"there is no task `{name}`", advice="run `perhop task list --all`")
    emit(row, as_json=as_json, text=_told(row))


@app.command(context_settings=_IDS)
def end(name: Name, why: Why = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
    """End a task and every token of it. Takes 2 s at most, at every guard whose feed is up too."""
    result = carry_out(config, "task.end", {"task": name, "why": why})
    ended = f"ended: task {name}; {counted(result['live'], 'live token')} revoked"
    emit(result, as_json=as_json, text=ended if result["ended"] else f"task {name} was over already")


def _used(row: Mapping[str, Any], kind: str) -> str:
    """`3 of 50`, or `3` where there is no limit."""
    limit = row["limits"][kind]
    return f"{row[kind]}" + ("" if limit is None else f" of {limit}")


def _told(row: Mapping[str, Any]) -> str:
    over = f", by {row['superseded_by']}" if row["superseded_by"] else ""
    lines = (
        ("task", row["id"]),
        ("purpose", row["purpose"]),
        ("client", row["client"]),
        ("for", row["subject"] or ""),
        ("approved", row["approved"] or "by nobody"),
        ("state", f"{row['state']}{over}"),
        ("tools", ", ".join(row["tools"])),
        ("calls", _used(row, "calls")),
        ("writes", _used(row, "writes")),
        ("begun", row["begun"]),
        ("expires", row["expires"]),
    )
    return "\n".join(f"{name:<10}{value}".rstrip() for name, value in lines)
