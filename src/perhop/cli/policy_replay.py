"""`perhop policy replay`: the decisions of the journal, asked again of a draft."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile, parse_moment
from perhop.cli.output import counted, emit_json, emit_table, emit_text, progress
from perhop.cli.policy_folder import PolicyFolder, load_engine, policy_folder

if TYPE_CHECKING:
    from perhop.control.replay import About, Change, ReplayReport, Seen, Untold

_MOST_TOLD = 20


def replay(
    policies: PolicyFolder = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Decisions from then on (default: all).")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Decisions before then.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="CLIENT", help="Decisions about this agent.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Ask the journal's decisions on calls again, of a draft: same, changed or undecidable. Changes nothing.

    A decision is undecidable where the draft reads what the journal does not hold: arguments, but for those that the
    resource lists in `record_arguments`. Reads files only.
    """
    from perhop.control.replay import replay as replay_journal
    from perhop.journal.facets import parse_microseconds
    from perhop.storage.journal_decisions import DecisionWindow
    from perhop.wiring.newcomers_on_file import with_newcomers

    settings = with_newcomers(load_settings(config))
    draft = load_engine(policy_folder(policies, settings), settings)
    window = DecisionWindow(
        since=parse_microseconds(parse_moment(since, "--since")),
        until=parse_microseconds(parse_moment(until, "--until")),
        agent=agent,
    )
    with progress("reading the journal") as show:
        report = replay_journal(settings, draft, window, tell=lambda done: show(f"{done:,} decisions asked again"))
    if as_json:
        emit_json(_as_json(report, draft.version))
    else:
        _emit(report)


def _emit(report: ReplayReport) -> None:
    totals = report.totals
    emit_text(", ".join(f"{totals[name]} {name}" for name in ("same", "changed", "undecidable")))
    rows = report.rows()
    if rows:
        emit_table(
            ("AGENT", "RESOURCE", "WHAT", "SAME", "CHANGED", "UNDECIDABLE"),
            ((about.agent, about.resource, _what(about), *counts.values()) for about, counts in rows.items()),
        )
    changes = sorted(report.changed.items(), key=lambda each: -each[1].count)
    for change, seen in changes[:_MOST_TOLD]:
        emit_text(f"{change.was} -> {change.now}: {_told(change.about)}: {_grounds(change)}; {_places(seen)}")
    untold = sorted(report.undecidable.items(), key=lambda each: -each[1].count)
    for each, seen in untold[:_MOST_TOLD]:
        emit_text(f"undecidable: {_told(each.about)}: {each.why}; {_places(seen)}")
    left = max(0, len(changes) - _MOST_TOLD) + max(0, len(untold) - _MOST_TOLD)
    if left:
        emit_text(f"and {left} more; `--json` has all")


def _what(about: About) -> str:
    return about.name if about.method == "tools/call" else f"{about.method} {about.name}".rstrip()


def _told(about: About) -> str:
    return f"`{about.agent}` {about.resource} {_what(about)}"


def _grounds(change: Change) -> str:
    names = ", ".join(f"`{each}`" for each in change.policies)
    if change.now == "approval":
        return f"permitted by {names}, once a person approves it"
    if change.now == "permit":
        return f"permitted by {names}" if names else "nothing forbids it"
    return f"refused by {names}" if names else "no policy permits it"


def _places(seen: Seen) -> str:
    first = ", ".join(f"{each.seq}" for each in seen.first)
    return f"{counted(seen.count, 'decision')}, record{'s' if len(seen.first) > 1 else ''} {first}" + (
        ", ..." if seen.count > len(seen.first) else ""
    )


def _as_json(report: ReplayReport, version: str) -> dict[str, Any]:
    def told(key: Change | Untold, seen: Seen) -> dict[str, Any]:
        said = {name: value for name, value in asdict(key).items() if name != "about"}
        return {**asdict(key.about), **said, "count": seen.count, "first": [asdict(each) for each in seen.first]}

    return {
        "policy_version": version,
        **report.totals,
        "rows": [{**asdict(about), **counts} for about, counts in report.rows().items()],
        "changes": [told(change, seen) for change, seen in report.changed.items()],
        "undecided": [told(each, seen) for each, seen in report.undecidable.items()],
    }
