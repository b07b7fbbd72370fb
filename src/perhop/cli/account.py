"""`perhop account`: the local accounts of people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import counted, emit, emit_json, emit_table, emit_text, say

app = command_group("Local accounts of people.")

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The e-mail address that the person signs in with.")]
Person = Annotated[
    str, typer.Argument(metavar="EMAIL|SUB", help="The e-mail address, or the `user:...` of an account.")
]
PasswordFile = Annotated[
    str | None,
    typer.Option("--password-file", metavar="FILE|-", help="Take the password from a file, or from stdin."),
]


@app.command()
def add(email: Email, password_file: PasswordFile = None, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Add an account. Without a password file a password is made, and printed once."""
    result = carry_out(config, "account.add", {"email": email, "password": _password(password_file)})
    _tell(result, "added", as_json=as_json)


@app.command()
def password(
    email: Email, password_file: PasswordFile = None, as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """Set a new password. Without a password file one is made, and printed once."""
    result = carry_out(config, "account.password", {"email": email, "password": _password(password_file)})
    _tell(result, "changed", as_json=as_json)


@app.command()
def disable(person: Person, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Disable every account of an address, or the one of a subject. Every token of the person is revoked."""
    result = carry_out(config, "account.disable", {"person": person})
    text = f"disabled: account {result['email'] or result['subject']}; {counted(result['live'], 'live token')} revoked"
    emit(result, as_json=as_json, text=text)


@app.command()
def enable(person: Person, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Lift a disabling. What was revoked stays revoked: the person signs in anew."""
    result = carry_out(config, "account.enable", {"person": person})
    text = f"enabled: account {result['email'] or result['subject']}"
    emit(result, as_json=as_json, text=text + ("" if result["was_disabled"] else " (it was enabled)"))


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List accounts: local ones, and those of people whom an OpenID provider has signed in."""
    accounts = look_up(config, "accounts")
    if as_json:
        emit_json(accounts)
        return
    emit_table(
        ("E-MAIL", "SUBJECT", "STATE", "PROVIDER"),
        ((each["email"] or "", each["subject"], each["state"], each["provider"] or "") for each in accounts),
    )


def _password(source: str | None) -> str | None:
    return read_password(source) if source is not None else None


def read_password(source: str) -> str:
    """The password in a file, or on stdin for `-`; one newline at its end is dropped."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise typer.BadParameter(f"`{source}` {why}", param_hint="--password-file") from error
    return text.removesuffix("\n").removesuffix("\r")


def _tell(result: dict[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(result)
        return
    say(f"{done}: account {result['email']}")
    if result.get("disabled"):
        say(f"The account is disabled, and stays so: see `perhop account enable {result['email']}`.")
    if "password" in result:
        say("The password, shown once:")
        emit_text(result["password"])
