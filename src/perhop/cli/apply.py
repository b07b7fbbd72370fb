"""`perhop apply`: the running server reads its file and its policies again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.cli.carry_out import carry_out
from perhop.cli.options import AsJson, ConfigFile, DryRun
from perhop.cli.output import counted, emit_json, emit_table, emit_text, say


def apply(dry_run: DryRun = False, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Put file and policies in force in the running server, whole or not at all. Prints what changes.

    Where no server runs, policies are compared with those that were in force last, and the file with nothing.

    Calls on their way end as they began. What the file no longer defines is disabled and its
    tokens are revoked, and so are those of a client that may ask for less than before. It lifts nothing that was
    disabled or revoked.
    """
    result = carry_out(config, "apply", {"dry_run": dry_run})
    if as_json:
        emit_json(result)
        return
    _emit_changes(result["changes"], is_all=result["serving"])
    say(_outcome(result))
    for warning in result["warnings"]:
        say(f"  warning: {warning}")
    for weakening in result["unsafe"]:
        say(f"  UNSAFE: {weakening}")


def _emit_changes(changes: list[Mapping[str, Any]], *, is_all: bool) -> None:
    if not changes:
        emit_text("nothing changes" if is_all else "no policy changes")
        return
    emit_table(
        ("CHANGE", "WHAT", "NAME", "WHAT OF IT"),
        ((each["change"], each["kind"], each["name"], ", ".join(each["members"])) for each in changes),
    )


def _outcome(result: Mapping[str, Any]) -> str:
    versions = f"configuration {result['version']}, policies {result['policy_version']}"
    if not result["serving"]:
        told = "perhop does not serve here, so the configuration was not compared; the next start goes by"
        return f"{told} {versions}"
    if not result["applied"]:
        return f"nothing was applied; this would be {versions}"
    revoked = f"; {counted(result['revoked'], 'live token')} revoked" if result["revoked"] else ""
    return f"in force: {versions}{revoked}"
