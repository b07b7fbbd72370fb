"""`perhop incident`: what the records say of a token that leaked, for and against theft and overbroad authorization."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perhop.cli.blast_radius import rests_line
from perhop.cli.carry_out import groups_of_people, load_settings
from perhop.cli.given_token import METAVAR, read_token_id
from perhop.cli.journal_file import JournalFile, tell_archived
from perhop.cli.options import AsJson, ConfigFile, parse_moment
from perhop.cli.output import counted, emit_json, emit_table, emit_text, say
from perhop.errors import OperatorError

if TYPE_CHECKING:
    from perhop.journal.incident import Incident


def incident(
    token: Annotated[str, typer.Argument(metavar=METAVAR, help="A token, whole or by its id (- reads it).")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report for people to this file, too.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="Write report, records and proofs to this zip, for others."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Compare with the agent's work since then (default: 30 days)."),
    ] = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Tell theft of a token from overbroad authorization. Every signal for and against, and the records behind it."""
    from perhop.control.investigation import investigating
    from perhop.journal.investigate import trace
    from perhop.storage.journal_still import JournalStill

    jti = read_token_id(token)
    from_time = parse_moment(since, "--since")
    now = int(time.time())
    settings = load_settings(config)
    people = groups_of_people(settings)
    with investigating(settings, now=now, journal=journal, kind_of_reader=JournalStill, groups=people) as investigation:
        tell_archived(investigation.reader)
        is_reported = html is not None or bundle is not None
        found, tree = investigation.reader.undisturbed(
            lambda: (
                investigation.incident(jti, since=from_time),
                trace(investigation.reader, jti) if is_reported else None,
            )
        )
        if tree is not None:
            from perhop.cli.incident_page import incident_page

            page = incident_page(found, tree, made_at=now)
            if html is not None:
                _write(html, page)
                say(f"written: {html}")
            if bundle is not None:
                from perhop.cli.incident_bundle import write_incident_bundle

                count = write_incident_bundle(bundle, settings, investigation, found, tree, page, journal=journal)
                say(f"written: {bundle}, with {counted(count, 'record')}. It names people and addresses.")
    if as_json:
        emit_json(found.as_json())
    else:
        _print(found)


def _write(file: Path, page: str) -> None:
    """Write a file that only its owner can read: it names people and addresses."""
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as opened:
            opened.write(page)
    except OSError as error:
        raise OperatorError(f"cannot write `{file}`: {error.strerror}") from error


def _print(found: Incident) -> None:
    token, radius = found.token, found.radius
    elsewhere = sorted({each.resource or "?" for each in radius.refused if each.reason == "audience.mismatch"})
    for name, value in (
        ("token", token.jti),
        ("good for", f"{token.audience or '?'} ({token.resource or 'not in the configuration'})"),
        ("of", f"agent {token.agent or '?'}, for {token.subject or '?'}"),
        ("scopes", " ".join(token.scopes) or "none"),
        ("first seen", token.first_seen),
        ("tried elsewhere", ", ".join(elsewhere) or "no"),
        ("could reach", ", ".join(each.resource for each in radius.could) or "nothing that the configuration knows"),
        ("did reach", ", ".join(sorted({each.resource or "?" for each in radius.did})) or "nothing"),
        ("compared with", f"{counted(found.habit.calls, 'call')} of the agent since {found.since}"),
    ):
        emit_text(f"{name:<16} {value}")
    emit_text("")
    if found.signals:
        emit_table(
            ("side", "speaks", "weight", "signal", "why", "records"),
            [
                (each.side, each.direction, each.weight, each.name, each.why, " ".join(map(str, each.records[:5])))
                for each in found.signals
            ],
        )
    else:
        emit_text("no signal has anything to say")
    emit_text("")
    emit_text(found.summary.words)
    emit_text(rests_line(radius.rests_on))
