"""`perhop token`: issue one for a client, and look into one without a network."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit_json, emit_table, emit_text, say
from perhop.control.failure import ExitCode

app = command_group("Access tokens.")

_TIMES = frozenset({"iat", "nbf", "exp", "auth_time"})


@app.command()
def issue(
    client: Annotated[str, typer.Option("--client", metavar="ID", help="The client that the token is for.")],
    resource: Annotated[
        str, typer.Option("--resource", metavar="NAME|URI", help="The one resource that it is good for.")
    ],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="S", help="A scope; may be given again. Default: all.")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Issue a token as client credentials would, and print the token alone."""
    result = carry_out(config, "token.issue", {"client": client, "resource": resource, "scopes": scope})
    if as_json:
        emit_json(result)
    else:
        emit_text(result["access_token"])


@app.command()
def inspect(
    token: Annotated[str, typer.Argument(metavar="TOKEN|-", help="The token, or - for stdin.")] = "-",
    as_json: AsJson = False,
) -> None:
    """Print a token's header and claims, and what is wrong with them. Needs no network, and proves no signature."""
    from perhop.tokens.inspect import inspect_token

    if token == "-" and sys.stdin.isatty():
        say("Paste the token, then press Ctrl-D.")
    raw = (sys.stdin.read() if token == "-" else token).strip()
    inspection = inspect_token(raw, now=int(time.time()))
    if as_json:
        parts_read = {"header": inspection.header, "claims": inspection.claims}
        emit_json({**parts_read, "problems": list(inspection.problems), "bound_to": inspection.bound_to})
    else:
        parts = (("header", inspection.header), ("claims", inspection.claims))
        rows = [(part, name, _shown(name, value)) for part, members in parts for name, value in members.items()]
        if rows:
            emit_table(("IN", "NAME", "VALUE"), rows)
        if inspection.bound_to is not None:
            emit_text(f"bound to the key {inspection.bound_to}: good with the scheme `DPoP` and a proof of that key")
        emit_text("\n".join(f"wrong: {problem}" for problem in inspection.problems) or "nothing wrong was found")
    if inspection.problems:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _shown(name: str, value: object) -> str:
    if name in _TIMES and type(value) is int and 0 <= value < 2**33:
        return f"{value} ({time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(value))})"
    return value if isinstance(value, str) else json.dumps(value)
