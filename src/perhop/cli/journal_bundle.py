"""`perhop journal verify-bundle`: check what somebody handed over. Needs no server, no configuration, no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perhop.cli.options import AsJson
from perhop.cli.output import counted, emit_json, emit_text, say
from perhop.control.failure import ExitCode

if TYPE_CHECKING:
    from perhop.journal.bundle.check import BundleVerdict

OWN_KEY = (
    "the key came from the bundle itself: this shows that the bundle holds together, and not whose journal it is."
    " Get `journal.vkey` another way, and name it with --public-key"
)


def verify_bundle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle that `perhop incident --bundle` made.")],
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", metavar="FILE", help="The journal's public key, got another way than the bundle."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle: every record's proof, every file, and that the report is what the records say."""
    from perhop.journal.bundle.check import check_bundle
    from perhop.journal.keys import load_vkey
    from perhop.storage.bundle_file import BundleFile

    key = load_vkey(public_key) if public_key is not None else None
    with BundleFile(file) as bundle:
        verdict = check_bundle(bundle, key)
    _print(verdict, as_json=as_json)
    if not verdict.ok:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _print(verdict: BundleVerdict, *, as_json: bool) -> None:
    if as_json:
        emit_json(verdict.as_json())
        if verdict.problem:
            say(verdict.problem)
    elif verdict.ok:
        emit_text(f"ok: {counted(verdict.records, 'record')} about token {verdict.token}, made {verdict.made}")
        emit_text(f"all are in the journal of {verdict.checkpoint} records with the root {verdict.root}")
    else:
        emit_text(f"NOT OK: {verdict.problem}")
    if verdict.key == "bundle":
        say(OWN_KEY)
