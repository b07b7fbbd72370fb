"""`perhop journal reconcile`: what the gateway sent, held against what the servers report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.journal_file import JournalFile, tell_archived
from perhop.cli.options import AsJson, ConfigFile, parse_moment
from perhop.cli.output import counted, emit_json, emit_table, emit_text
from perhop.control.failure import ExitCode

if TYPE_CHECKING:
    from perhop.journal.both_ends import BothEnds, OneEnd

_DAY = 24 * 3600.0
_SHOWN = 20


def reconcile(
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From this time on (default: a day ago).")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time (RFC 3339).")] = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List calls that only one side saw: the gateway, or a server whose guard reports. Exit code 7 if there are any."""
    from perhop.journal.both_ends import reconcile as hold_together
    from perhop.journal.facets import format_microseconds, parse_microseconds
    from perhop.storage.journal_both_ends import JournalBothEnds

    settings = load_settings(config)
    now = time.time()
    start = parse_microseconds(parse_moment(since, "--since")) if since is not None else int((now - _DAY) * 1_000_000)
    end = parse_microseconds(parse_moment(until, "--until")) if until is not None else int(now * 1_000_000)
    with JournalBothEnds(journal if journal is not None else settings.journal_path) as reader:
        tell_archived(reader, since=format_microseconds(start or 0))
        found = hold_together(reader, settings.registry, since=start or 0, until=end or 0)
    if as_json:
        emit_json(found.as_json())
    else:
        _print(found)
    if not found.ok:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _print(found: BothEnds) -> None:
    if found.resources:
        emit_table(
            ("resource", "admitted", "only server", "only gateway", "gateway's own", "direct", "last report"),
            [
                (
                    side.resource,
                    side.admitted,
                    side.only_server,
                    side.only_gateway,
                    side.own,
                    side.direct,
                    side.last_report[:19],
                )
                for side in found.resources
            ],
        )
    _list("only the server saw: they came to it past the gateway", found.only_server)
    _list("only the gateway saw", found.only_gateway)
    if found.seen_again:
        emit_text("\nadmitted more often than sent")
        rows = [(each.resource, each.jti, each.call_id, each.count) for each in found.seen_again[:_SHOWN]]
        emit_table(("resource", "token", "call", "times"), rows)
        _more(len(found.seen_again))
    if found.silent:
        emit_text(f"\nno report from the server of {', '.join(found.silent)}: nothing to hold against")
    if found.truncated:
        emit_text("\nthere are more than could be listed: ask about a shorter time")
    emit_text(f"\n{_verdict(found)} ({found.since} to {found.until})")


def _verdict(found: BothEnds) -> str:
    if not found.resources:
        return "no server reported anything"
    if found.ok:
        return f"both ends agree on {counted(sum(each.admitted for each in found.resources), 'call')}"
    return "NOT OK: these calls need an explanation"


def _list(title: str, calls: tuple[OneEnd, ...]) -> None:
    if not calls:
        return
    emit_text(f"\n{title}")
    emit_table(
        ("record", "time", "resource", "agent", "call", "from", "fate"),
        [
            (
                each.seq,
                (each.time or "")[:19],
                each.resource,
                each.agent,
                " ".join(filter(None, (each.method, each.name))),
                each.address,
                each.fate.value if each.fate is not None else None,
            )
            for each in calls[:_SHOWN]
        ],
    )
    _more(len(calls))


def _more(count: int) -> None:
    if count > _SHOWN:
        emit_text(f"  and {count - _SHOWN} more; `--json` lists them")
