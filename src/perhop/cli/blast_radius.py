"""`perhop blast-radius`: what could be reached, what was, and what was refused."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from perhop.cli.carry_out import groups_of_people, load_settings
from perhop.cli.given_token import METAVAR, read_token_id
from perhop.cli.journal_file import JournalFile, tell_archived
from perhop.cli.options import AsJson, ConfigFile, parse_moment
from perhop.cli.output import counted, emit_json, emit_table, emit_text

if TYPE_CHECKING:
    from perhop.journal.blast_radius import BlastRadius, Could, Rests
    from perhop.journal.tally import Asked

ID = "A token, whole or by its id (- reads it); those that came from it are looked at, too."

Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this time on (RFC 3339).")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time (RFC 3339).")]


def blast_radius(
    token: Annotated[str | None, typer.Option("--token", metavar=METAVAR, help=ID)] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="CLIENT", help="A client id.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", metavar="SUB", help="user:... or a client id.")] = None,
    resource: Annotated[str | None, typer.Option("--resource", metavar="NAME|URI", help="A resource.")] = None,
    since: Since = None,
    until: Until = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show what could be reached, what was, and what was refused. For a token, an agent, a subject or a resource."""
    from perhop.control.investigation import investigating

    kind, value = _named(token=token, agent=agent, subject=subject, resource=resource)
    if token is not None:
        value = read_token_id(token)
    window = {"since": parse_moment(since, "--since"), "until": parse_moment(until, "--until")}
    settings = load_settings(config)
    people = groups_of_people(settings)
    with investigating(settings, now=int(time.time()), journal=journal, groups=people) as investigation:
        tell_archived(investigation.reader, since=window["since"])
        found = investigation.blast_radius(kind, value, **window)
    if as_json:
        emit_json(found.as_json())
    else:
        print_radius(found)


def _named(**options: str | None) -> tuple[Asked, str]:
    from perhop.journal.tally import Asked

    named = [(Asked(kind), value) for kind, value in options.items() if value is not None]
    if len(named) != 1:
        raise typer.BadParameter("name one of --token, --agent, --subject, --resource")
    return named[0]


def print_radius(found: BlastRadius) -> None:
    """The answer as people see it."""
    emit_text(f"{found.asked['kind']} {found.asked['value']}")
    if len(found.tokens) > 1:
        emit_text(f"with {counted(len(found.tokens) - 1, 'token')} that came from it")
    _print_could(found)
    _print_done(found)
    _print_refused(found)
    _print_possible(found)
    emit_text("")
    emit_text(rests_line(found.rests_on))


def _print_could(found: BlastRadius) -> None:
    _part("could reach", [])
    for could in found.could:
        emit_text("\n".join(_could_lines(could)))
    if not found.could:
        emit_text("  nothing that the configuration knows")


def _print_done(found: BlastRadius) -> None:
    _part(
        "did reach",
        ("resource", "call", "count", "first", "last", "ended", "networks"),
        [
            (
                each.resource,
                " ".join(filter(None, (each.method, each.name))),
                each.count,
                _short(each.first),
                _short(each.last),
                _outcomes(each.outcomes),
                _places(each.networks, each.network_count),
            )
            for each in found.did
        ],
    )
    if found.reported:
        _part(
            "servers report",
            ("resource", "call", "count", "first", "last", "from"),
            [
                (
                    each.resource,
                    " ".join(filter(None, (each.method, each.name))),
                    each.count,
                    _short(each.first),
                    _short(each.last),
                    _places(each.networks, each.network_count),
                )
                for each in found.reported
            ],
        )
    if found.got:
        _part(
            "tokens issued",
            ("for", "count", "first", "last"),
            [(each.audience or each.resource, each.count, _short(each.first), _short(each.last)) for each in found.got],
        )


def _print_refused(found: BlastRadius) -> None:
    _part(
        "was refused",
        ("at", "token for", "reason", "count", "first", "last", "networks"),
        [
            (
                each.resource,
                each.audience,
                each.reason,
                each.count,
                _short(each.first),
                _short(each.last),
                _places(each.networks, each.network_count),
            )
            for each in found.refused
        ],
    )


def _print_possible(found: BlastRadius) -> None:
    _part("merely possible", [])
    for possible in found.possible:
        what = "nothing was called" if possible.untouched else "not called"
        tools = f": {', '.join(possible.tools)}" if possible.tools else ""
        emit_text(f"  {possible.resource}, {what}{tools}")
    if not found.possible:
        emit_text("  nothing more")


def rests_line(rests: Rests) -> str:
    """What the answer rests on, in one line."""
    if not rests.signed:
        return f"rests on {counted(rests.records, 'record')} that no checkpoint signs"
    signed = f"{rests.signed} of them under the checkpoint with root {rests.root}"
    if rests.first > 1:
        held = f"rests on records {rests.first} to {rests.records}, those before are archived and were not asked"
        return f"{held}; signed up to {rests.signed}, under the checkpoint with root {rests.root}"
    return f"rests on {counted(rests.records, 'record')}, {signed}; `perhop journal verify` checks it"


def _part(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]] | None = None) -> None:
    emit_text("")
    emit_text(title)
    if rows:
        emit_table(columns, rows)
    elif rows is not None:
        emit_text("  nothing")


def _could_lines(could: Could) -> Iterator[str]:
    how = "directly" if could.hops == 0 else f"over {counted(could.hops, 'hop')}"
    yield f"  {could.resource} ({could.uri}), {how}"
    yield f"    scopes {', '.join(could.scopes) or 'none'}; tools {', '.join(could.tools) or 'none'}"
    if could.permitted:
        yield f"    policy could permit {', '.join(could.permitted)}"
    if could.denied:
        yield f"    policy denies {', '.join(could.denied)}"


def _outcomes(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{outcome}: {count}" for outcome, count in outcomes.items())


def _places(networks: Sequence[str], count: int) -> str:
    more = count - 3
    return " ".join(networks[:3]) + (f" and {more} more" if more > 0 else "")


def _short(moment: str) -> str:
    return f"{moment[:19]}Z"
