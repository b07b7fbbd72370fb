"""`perhop doctor`: is this installation whole, and does it do what it says."""

from __future__ import annotations

import time

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile
from perhop.cli.output import emit_json, emit_table
from perhop.control.failure import ExitCode


def doctor(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Look whether this installation is whole. Files, keys, journal, policies, and what a running server answers."""
    import asyncio

    from perhop.control.doctor import diagnose

    findings = asyncio.run(diagnose(load_settings(config), now=time.time()))
    if as_json:
        emit_json({"ok": all(each.ok for each in findings), "checks": [each.as_json() for each in findings]})
    else:
        emit_table(
            ("", "CHECK", "SEEN"),
            (
                (
                    "ok" if each.ok else "WRONG",
                    each.name,
                    each.seen if each.ok or not each.remedy else f"{each.seen}; {each.remedy}",
                )
                for each in findings
            ),
        )
    if not all(each.ok for each in findings):
        raise typer.Exit(ExitCode.CHECK_FAILED)
