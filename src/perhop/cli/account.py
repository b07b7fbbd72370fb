"""`perhop account`: the local accounts of people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.output import AsJson, ConfigFile, emit, emit_json, emit_table, say

app = typer.Typer(no_args_is_help=True, help="Local accounts of people.")

Email = Annotated[str, typer.Argument(metavar="EMAIL")]
PasswordFile = Annotated[
    str | None,
    typer.Option("--password-file", metavar="FILE|-", help="Take the password from a file or from stdin."),
]


def _password(source: str | None) -> str | None:
    if source is None:
        return None
    text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    return text.removesuffix("\n").removesuffix("\r")


def _tell_password(result: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        emit_json(result)
    elif "password" in result:
        say("The password, shown once:")
        emit({}, as_json=False, text=str(result["password"]))


@app.command()
def add(email: Email, password_file: PasswordFile = None, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Add an account; without a password file a password is made and printed once."""
    result = carry_out(config, "account.add", {"email": email, "password": _password(password_file)})
    _tell_password(result, as_json=as_json)


@app.command()
def password(
    email: Email, password_file: PasswordFile = None, as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """Set a new password; signs the person out everywhere."""
    result = carry_out(config, "account.password", {"email": email, "password": _password(password_file)})
    _tell_password(result, as_json=as_json)


@app.command()
def disable(email: Email, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Disable an account and revoke every token of the person."""
    result = carry_out(config, "account.disable", {"email": email})
    if as_json:
        emit_json(result)


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List accounts."""
    accounts = look_up(config, "accounts")
    if as_json:
        emit_json(accounts)
    else:
        emit_table(
            ("E-MAIL", "SUBJECT", "STATE"),
            ((each["email"], each["subject"], each["state"]) for each in accounts),
        )
