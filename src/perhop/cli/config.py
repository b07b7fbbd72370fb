"""`perhop config`: the schema of the configuration file, whether yours is good, and what it comes to."""

from __future__ import annotations

import os

import typer
import yaml

from perhop.cli.output import AsJson, ConfigFile, ExitCode, config_path, emit_json, emit_text, say
from perhop.settings import check as check_settings
from perhop.settings import load, schema, show

app = typer.Typer(no_args_is_help=True, help="The configuration file.")


@app.command("schema")
def schema_() -> None:
    """Print the JSON Schema of the configuration file."""
    emit_json(schema())


@app.command()
def check(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Read the file as `serve` would and say everything that is wrong with it."""
    path = config_path(config)
    problems = check_settings(path, os.environ)
    unsafe = [] if problems else list(load(path, os.environ).unsafe())
    if as_json:
        emit_json({"ok": not problems, "problems": [str(problem) for problem in problems], "unsafe": unsafe})
    else:
        for problem in problems:
            emit_text(str(problem))
        for weakening in unsafe:
            say(f"unsafe: {weakening}")
        if not problems:
            emit_text("ok")
    if problems:
        raise typer.Exit(ExitCode.CHECK_FAILED)


@app.command("show")
def show_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the configuration in force, defaults and environment included, secrets redacted."""
    shown = show(config_path(config), os.environ)
    if as_json:
        emit_json(shown)
    else:
        emit_text(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))
