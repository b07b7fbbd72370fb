"""`perhop doctor`: is this installation whole, and does it do what it says."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile, config_path
from perhop.cli.output import counted, emit_json, emit_table, emit_text, progress
from perhop.control.failure import ExitCode
from perhop.errors import SettingsError

if TYPE_CHECKING:
    from perhop.control.doctor import Finding


def doctor(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Look whether this installation is whole. Files, keys, journal, policies, issuer, upstreams; changes nothing."""
    from perhop.control.doctor import Status

    findings = _examine(config)
    is_well = not any(each.answer.status is Status.FAILED for each in findings)
    if as_json:
        emit_json({"ok": is_well, "checks": [each.as_json() for each in findings]})
    else:
        _print(findings)
    if not is_well:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _examine(config: Path | None) -> list[Finding]:
    import asyncio

    from perhop.control.doctor import diagnose, not_loading
    from perhop.settings import check

    path = config_path(config)
    try:
        settings = load_settings(config)
    except SettingsError:
        if not path.is_file():
            raise
        # Nothing else can be looked at: where keys and databases lie is said in the file.
        return not_loading([str(each) for each in check(path, os.environ)])
    with progress("looking at files, issuer and upstreams"):
        return asyncio.run(diagnose(settings, clock=time.time))


def _print(findings: list[Finding]) -> None:
    """A line a finding; then, of each that somebody should act on, why, and what to do."""
    emit_table(
        ("STATUS", "CHECK", "SEEN"),
        ((each.answer.status.value, each.name, each.answer.seen) for each in findings),
    )
    for each in findings:
        if each.needs_words:
            emit_text(
                f"\n{each.name}: {each.answer.status.value}: {each.answer.seen}"
                f"\n  why: {each.why}\n  fix: {each.answer.fix}\n  see: {each.page}"
            )
    shown = [each.answer.status.value for each in findings]
    emit_text(
        f"\n{counted(len(findings), 'check')}: {shown.count('failed')} failed, {shown.count('warning')} to look at"
    )
