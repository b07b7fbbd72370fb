"""`perhop key`: the signing keys and their states."""

from __future__ import annotations

from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out, look_up
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit, emit_json, emit_table

app = command_group("Signing keys: prepared, active, retired, revoked.")


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List signing keys with algorithm and state."""
    keys = look_up(config, "keys")
    if as_json:
        emit_json(keys)
        return
    emit_table(("KEY", "ALG", "STATE", "SINCE"), ((k["kid"], k["alg"], k["state"], k["since"]) for k in keys))


@app.command()
def rotate(
    alg: Annotated[
        str | None, typer.Option("--alg", metavar="ES256|Ed25519|RS256", help="Algorithm of the new key.")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Sign with it at once, instead of after verifiers have fetched it.")
    ] = False,
    revoke_others: Annotated[
        bool,
        typer.Option("--revoke-others", help="The others may have leaked: sign at once, and take none of theirs."),
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Make a new signing key. It is published first, and signs once verifiers know it; then the old one retires."""
    result = carry_out(config, "key.rotate", {"alg": alg, "now": now, "revoke_others": revoke_others})
    emit(result, as_json=as_json, text=f"{result['state']}: key {result['kid']}, signs from {result['signs_from']}")
