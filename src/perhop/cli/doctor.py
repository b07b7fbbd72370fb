"""`perhop doctor`: is this installation whole, and does it do what it says."""

from __future__ import annotations

import asyncio
import os
import time

import typer

from perhop.cli.output import AsJson, ConfigFile, ExitCode, config_path, emit_json, emit_table
from perhop.control.doctor import diagnose
from perhop.settings import load


def doctor(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Check files, keys, database, journal, policies and, where a server runs, what it answers."""
    settings = load(config_path(config), os.environ)
    findings = asyncio.run(diagnose(settings, now=time.time()))
    if as_json:
        emit_json({"ok": all(each.ok for each in findings), "checks": [each.as_json() for each in findings]})
    else:
        emit_table(
            ("", "CHECK", "SEEN", "REMEDY"),
            (("ok" if each.ok else "WRONG", each.name, each.seen, "" if each.ok else each.remedy) for each in findings),
        )
    if not all(each.ok for each in findings):
        raise typer.Exit(ExitCode.CHECK_FAILED)
