"""`perhop journal`: follow, ask and prove. Needs no server; reads files only."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.journal_archive import archive
from perhop.cli.journal_export import FOLLOW_SECONDS, export
from perhop.cli.journal_file import JournalFile, open_reader, tell_archived
from perhop.cli.journal_reconcile import reconcile
from perhop.cli.journal_verify import PublicKey, verify
from perhop.cli.options import AsJson, ConfigFile, command_group, parse_moment
from perhop.cli.output import emit_json, emit_text, say, terminal_width
from perhop.errors import CheckFailed, NotFound, OperatorError

if TYPE_CHECKING:
    from perhop.journal.query import Entry

app = command_group("The journal: one record per event.")
app.command()(verify)
app.command()(archive)
app.command()(export)
app.command()(reconcile)

_CONTINUED = " " * 8


@app.command()
def tail(
    count: Annotated[int, typer.Option("-n", "--count", min=0, help="So many of the last records.")] = 10,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new records until interrupted.")] = False,
    journal: JournalFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Print the last records. With --follow, every further one too."""
    from perhop.journal.query import Filter

    with open_reader(config, journal) as reader:
        seen, base = reader.size(), reader.base().frontier.size
        wanted = Filter(first=max(1, seen - count + 1), last=seen)
        if base > seen - count:
            tell_archived(reader)
        _print_entries(reader.find(wanted), as_json=as_json)
        try:
            while follow:
                sys.stdout.flush()
                time.sleep(FOLLOW_SECONDS)
                newest = reader.size()
                _print_entries(reader.find(Filter(first=seen + 1, last=newest)), as_json=as_json)
                seen = newest
        except KeyboardInterrupt:
            return  # how following ends


@app.command()
def query(
    txn: Annotated[str | None, typer.Option("--txn", metavar="ID", help="Transaction id.")] = None,
    jti: Annotated[str | None, typer.Option("--jti", metavar="ID", help="Token id, coming in or going out.")] = None,
    event: Annotated[str | None, typer.Option("--event", metavar="NAME", help="Event, as call.refused.")] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="CODE", help="Reason, as audience.mismatch.")
    ] = None,
    client: Annotated[str | None, typer.Option("--client", metavar="ID", help="Client id.")] = None,
    resource: Annotated[
        str | None, typer.Option("--resource", metavar="NAME|URI", help="Resource name or URI.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this time on (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time (RFC 3339).")] = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Print the records that match everything that is named. With --json, one record a line."""
    from perhop.journal.query import Filter

    wanted = Filter(
        txn=txn,
        jti=jti,
        event=_event(event),
        reason=reason,
        client=client,
        resource=resource,
        since=parse_moment(since, "--since"),
        until=parse_moment(until, "--until"),
    )
    with open_reader(config, journal) as reader:
        tell_archived(reader, since=wanted.since)
        _print_entries(reader.find(wanted), as_json=as_json)


def _event(name: str | None) -> str | None:
    from perhop.journal.record import Event

    known = [event.value for event in Event]
    if name is not None and name not in known:
        raise typer.BadParameter(f"there is no event `{name}`; there are {', '.join(known)}", param_hint="--event")
    return name


@app.command()
def prove(
    seq: Annotated[int | None, typer.Argument(metavar="SEQ", help="The record to prove.")] = None,
    check: Annotated[Path | None, typer.Option("--check", metavar="FILE", help="Check a proof instead.")] = None,
    public_key: PublicKey = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Print a proof that a record is in the journal, as JSON; or check one, with the public key alone."""
    from perhop.journal.keys import VKEY_FILE, load_vkey
    from perhop.journal.proof import check_proof, make_proof

    del as_json  # a proof, and the record that it proves, are JSON, asked for or not
    if (seq is None) == (check is None):
        raise typer.BadParameter("name a record, or a proof with --check FILE")
    if seq is not None:
        with open_reader(config, journal) as reader:
            emit_json(make_proof(reader, seq))
        return
    assert check is not None
    vkey = public_key if public_key is not None else load_settings(config).keys_dir / VKEY_FILE
    record = check_proof(_read_proof(check), load_vkey(vkey))
    say(f"ok: the journal holds this record {record['seq']}")
    emit_json(dict(record))


def _read_proof(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no proof `{file}`") from None
    except OSError as error:
        raise OperatorError(f"`{file}` cannot be read: {error.strerror}") from error
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CheckFailed(f"`{file}` is not a proof")
    return document


def _print_entries(entries: Iterable[Entry], *, as_json: bool) -> None:
    width = terminal_width()
    for entry in entries:
        if as_json:
            emit_json(entry.fields)
        elif width is None:
            emit_text(_line(entry))
        else:
            emit_text(
                textwrap.fill(
                    _line(entry),
                    width,
                    subsequent_indent=_CONTINUED,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )


def _line(entry: Entry) -> str:
    """One record in one line: number, time, event, and whatever else it says, shortest first."""
    moment = f"{(entry.text('time') or '?')[:19]}Z"
    return f"{entry.seq:>6}  {moment}  {entry.text('event') or '?':<15}  {_what(entry)}".rstrip()


def _what(entry: Entry) -> str:
    """`RESOURCE by CLIENT: CALL -> STATUS (REASON)`, as far as the record has them, then what it says of a change."""
    call, result, about = entry.part("call"), entry.part("result"), entry.part("about")
    client = entry.text("client") or entry.part("in").get("agent")
    who = " ".join(filter(None, (entry.text("resource"), f"by {client}" if client else None)))
    called = " ".join(str(part) for part in (call.get("method"), call.get("name")) if part is not None)
    said = (
        ": ".join(filter(None, (who, called))),
        f"-> {result['status']}" if "status" in result else None,
        f"({entry.text('reason')})" if entry.text("reason") else None,
        " ".join(f"{name}={_listed(value)}" for name, value in about.items() if value not in ("", [], None)),
    )
    return " ".join(each for each in said if each)


def _listed(value: object) -> str:
    return ",".join(str(each) for each in value) if isinstance(value, list | dict) else str(value)
