"""`perhop config`: the schema of the configuration file, whether yours is good, and what it comes to."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from perhop.cli.options import AsJson, ConfigFile, command_group, config_path
from perhop.cli.output import emit_json, emit_text, say
from perhop.control.failure import ExitCode
from perhop.errors import PolicyError, SettingsError

app = command_group("The configuration file.")


@app.command("schema")
def schema_(as_json: AsJson = False) -> None:
    """Print the JSON Schema of the configuration file."""
    from perhop.settings import schema

    del as_json  # a JSON Schema is JSON, asked for or not
    emit_json(schema())


@app.command()
def check(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Say everything that is wrong with the file, each with its line. Warns of clients that have expired."""
    path = config_path(config)
    problems = _problems(path)
    warnings = [] if problems else _warnings(path)
    unsafe = [] if problems else _unsafe(path)
    needing = {} if problems else _needing_bodies(path)
    if as_json:
        found = {"problems": problems, "warnings": warnings, "unsafe": unsafe, "needing_bodies": needing}
        emit_json({"ok": not problems, **found})
    else:
        for problem in problems:
            place = f"{problem['place']}: " if problem["place"] else ""
            emit_text(f"{place}{problem['problem']}" + (f"; {problem['advice']}" if problem["advice"] else ""))
        for warning in warnings:
            say(f"warning: {warning}")
        for weakening in unsafe:
            say(f"unsafe: {weakening}")
        for name, why in needing.items():
            say(f"resources.{name} is closed to a proxy that sends no body: {why}")
        if not problems:
            emit_text("ok")
    if problems:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _problems(path: Path) -> list[dict[str, Any]]:
    from perhop.settings import check_start

    try:
        found = check_start(path, os.environ)
    except SettingsError as error:
        if not path.is_file():
            raise
        # The file is no YAML that we read: this is all that can be said of it.
        return [{"place": "", "problem": error.problem, "advice": error.advice()}]
    return [{"place": each.place, "problem": each.text, "advice": each.advice} for each in found]


def _warnings(path: Path) -> list[str]:
    from perhop.settings import expired

    return [str(each) for each in expired(path, os.environ, today=datetime.now(UTC).date())]


def _unsafe(path: Path) -> list[str]:
    from perhop.settings import load

    return list(load(path, os.environ).unsafe())


def _needing_bodies(path: Path) -> dict[str, str]:
    from perhop.control.data_planes import needing_bodies
    from perhop.settings import load

    try:
        return needing_bodies(load(path, os.environ))
    except PolicyError:  # for `perhop policy check` to tell
        return {}


@app.command("show")
def show_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the configuration in force. Defaults and environment are in it, secrets are not."""
    from perhop.settings import render, show

    shown = show(config_path(config), os.environ)
    if as_json:
        emit_json(shown)
    else:
        emit_text(render(shown))
