"""`perhop journal archive`: old records leave the live file, in a sealed and verified one."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import carry_out, load_settings
from perhop.cli.options import AsJson, ConfigFile, parse_moment
from perhop.cli.output import counted, emit, progress, say

if TYPE_CHECKING:
    from perhop.control.archiving import Plan

_DAY = 24 * 3600


def archive(
    before: Annotated[
        str | None, typer.Option("--before", metavar="TIME", help="Archive records from before this time (RFC 3339).")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, max=36_500, metavar="DAYS", help="Archive records older than so many days."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Folder of segments (default: journal-archive, beside the journal)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be archived.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Move old records into a sealed file, and out of the journal. The tree goes on without a break.

    The segment is written and verified by this command, while the server goes on; then the writer lets the journal
    begin after it, and records that. The last day always stays, and so does what an export has not taken yet.
    """
    from perhop.control.archiving import archive_folder_of, make_plan, write_planned

    now = time.time()
    moment = _moment(before, keep, now)
    settings = load_settings(config)
    folder = to if to is not None else archive_folder_of(settings)
    plan = make_plan(settings, before=moment, now=now, folder=folder)
    if plan.records == 0 or dry_run:
        emit({**_planned(plan), "archived": False}, as_json=as_json, text=_plan_text(plan))
        return
    with progress("archiving") as tell:
        path, sha256 = write_planned(settings, plan, folder=folder, tell=tell)
        tell("cutting the journal")
        done = carry_out(config, "journal.cut", {"file": str(path.absolute()), "sha256": sha256})
    result = {**_planned(plan), **done, "path": str(path), "archived": True}
    emit(
        result,
        as_json=as_json,
        text=f"archived: records {done['first']} to {done['last']}, before {plan.until}, in {path}\n"
        f"sha256 {done['sha256']}\nthe journal begins with record {done['last'] + 1}; record {done['seq']} says so",
    )
    if not done["swept"]:
        say("the running server takes the records out of its file in small steps")
    if plan.why:
        say(f"the rest stays: {plan.why}")


def _moment(before: str | None, keep: int | None, now: float) -> float:
    if (before is None) == (keep is None):
        raise typer.BadParameter("name a time with --before, or how many days to --keep")
    if keep is not None:
        return now - keep * _DAY
    parsed = parse_moment(before, "--before")
    assert parsed is not None
    return datetime.fromisoformat(parsed).timestamp()


def _planned(plan: Plan) -> dict[str, Any]:
    return {
        "first": plan.first,
        "last": plan.last,
        "records": plan.records,
        "until": plan.until,
        "kept": plan.kept,
        "file": plan.file if plan.records else None,
        "why_no_more": plan.why or None,
    }


def _plan_text(plan: Plan) -> str:
    rest = f"\nthe rest stays: {plan.why}" if plan.why else ""
    if plan.records == 0:
        return f"nothing to archive{': ' + plan.why if plan.why else ''}"
    found = f"; {plan.written} of an interrupted run would be used" if plan.written is not None else ""
    return (
        f"would be archived: records {plan.first} to {plan.last}, before {plan.until}, as {plan.file}{found}\n"
        f"would stay: {counted(plan.kept, 'record')}{rest}"
    )
