"""`perhop journal`: verify, follow, ask and prove. Needs no server; reads files only."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from perhop.cli.output import (
    AsJson,
    ConfigFile,
    ExitCode,
    config_path,
    emit_json,
    emit_lines,
    emit_table,
    emit_text,
    say,
    stderr,
)
from perhop.errors import CheckFailed, NotFound
from perhop.journal.keys import VKEY_FILE, load_vkey
from perhop.journal.proof import check_proof, make_proof
from perhop.journal.query import Entry, Filter, parse_time
from perhop.journal.verify import Verification, verify_journal
from perhop.settings import Settings, load
from perhop.storage.journal_db import checkpoint_path
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot

app = typer.Typer(no_args_is_help=True, help="The journal: one record per event.")

FOLLOW_SECONDS = 0.5

PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="FILE", help="The journal's public key (default: keys/journal.vkey)."),
]


@app.command()
def verify(
    journal_db: Annotated[
        Path | None, typer.Argument(metavar="[JOURNAL_DB]", help="A journal file; default: ours.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint that was kept elsewhere (default: the last one).")
    ] = None,
    public_key: PublicKey = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Check every record against the tree and its signed checkpoints; name the first that is bad or missing."""
    settings = None if journal_db is not None and public_key is not None else load(config_path(config), os.environ)
    file = journal_db if journal_db is not None else _settings(settings).journal_path
    key = load_vkey(public_key if public_key is not None else _settings(settings).keys_dir / VKEY_FILE)
    kept = _kept_checkpoint(file, checkpoint)
    with JournalSnapshot(file) as snapshot, stderr.status("verifying") as status:
        found = verify_journal(
            snapshot, key, checkpoints=kept, progress=lambda count: status.update(f"verifying: {count} records")
        )
    _print_verification(found, as_json=as_json)
    if not found.ok:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _kept_checkpoint(file: Path, checkpoint: Path | None) -> list[str]:
    """The checkpoint that was named, else the one published beside the journal, if it is there."""
    kept = checkpoint if checkpoint is not None else checkpoint_path(file)
    try:
        return [kept.read_text(encoding="utf-8")]
    except FileNotFoundError:
        if checkpoint is None:
            return []
        raise NotFound(f"there is no checkpoint `{kept}`", advice="check the path") from None
    except UnicodeDecodeError:
        raise CheckFailed(f"`{kept}` is not a checkpoint") from None


def _print_verification(found: Verification, *, as_json: bool) -> None:
    if as_json:
        emit_json({"ok": found.ok, "records": found.records, "root": found.root, "first_bad": found.first_bad})
    elif found.ok:
        emit_text(f"ok: {found.records} records, root {found.root}")
    else:
        emit_text(f"NOT OK: {found.problem}")
    if found.problem and as_json:
        say(found.problem)


@app.command()
def tail(
    count: Annotated[int, typer.Option("-n", "--count", min=0, help="So many of the last records.")] = 10,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new records until interrupted.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Print the last records, and with --follow every further one."""
    with _reader(config) as reader:
        entries = list(reader.tail(count))
        seen = max(reader.size(), *(each.seq for each in entries)) if entries else reader.size()
        _print_entries(entries, as_json=as_json)
        while follow:
            time.sleep(FOLLOW_SECONDS)
            fresh = list(reader.find(Filter(first=seen + 1)))
            if fresh:
                seen = fresh[-1].seq
                _print_entries(fresh, as_json=as_json, header=False)


@app.command()
def query(
    txn: Annotated[str | None, typer.Option(help="Transaction id.")] = None,
    jti: Annotated[str | None, typer.Option(help="Token id, coming in or going out.")] = None,
    event: Annotated[str | None, typer.Option(help="Event, as call.refused.")] = None,
    reason: Annotated[str | None, typer.Option(help="Reason, as audience.mismatch.")] = None,
    client: Annotated[str | None, typer.Option(help="Client id.")] = None,
    resource: Annotated[str | None, typer.Option(help="Resource name or URI.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time (RFC 3339).")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Print the records that match everything that is named; with --json one record a line."""
    wanted = Filter(
        txn=txn,
        jti=jti,
        event=event,
        reason=reason,
        client=client,
        resource=resource,
        since=parse_time(since) if since else None,
        until=parse_time(until) if until else None,
    )
    with _reader(config) as reader:
        if as_json:
            emit_lines(entry.fields for entry in reader.find(wanted))
        else:
            _print_entries(list(reader.find(wanted)), as_json=False)


@app.command()
def prove(
    seq: Annotated[int | None, typer.Argument(metavar="[SEQ]", help="The record to prove.")] = None,
    check: Annotated[Path | None, typer.Option(metavar="FILE", help="Check a proof instead.")] = None,
    public_key: PublicKey = None,
    config: ConfigFile = None,
) -> None:
    """Print a proof that a record is in the journal, or check one with the public key alone."""
    if (seq is None) == (check is None):
        say("Name a record, or a proof with --check FILE.")
        raise typer.Exit(ExitCode.USAGE)
    if seq is not None:
        with _reader(config) as reader:
            emit_json(make_proof(reader, seq))
        return
    assert check is not None
    vkey = public_key if public_key is not None else load(config_path(config), os.environ).keys_dir / VKEY_FILE
    emit_json(dict(check_proof(_read_proof(check), load_vkey(vkey))))


def _read_proof(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no proof `{file}`") from None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CheckFailed(f"`{file}` is not a proof")
    return document


def _settings(settings: Settings | None) -> Settings:
    assert settings is not None  # loaded whenever one of its paths is needed
    return settings


def _reader(config: Path | None) -> JournalQueries:
    return JournalQueries(load(config_path(config), os.environ).journal_path)


def _print_entries(entries: list[Entry], *, as_json: bool, header: bool = True) -> None:
    if as_json:
        emit_lines(entry.fields for entry in entries)
        return
    rows = [
        (
            entry.seq,
            (entry.text("time") or "")[:23],
            entry.text("event"),
            entry.text("reason"),
            entry.text("resource"),
            entry.text("client") or entry.part("in").get("agent"),
            " ".join(filter(None, (entry.part("call").get("method"), entry.part("call").get("name")))),
        )
        for entry in entries
    ]
    emit_table(("SEQ", "TIME", "EVENT", "REASON", "RESOURCE", "CLIENT", "CALL") if header else ("",) * 7, rows)
