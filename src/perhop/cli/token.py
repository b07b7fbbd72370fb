"""`perhop token`: issue one for a client, and look into one without a network."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from perhop.cli.carry_out import carry_out
from perhop.cli.output import AsJson, ConfigFile, ExitCode, emit_json, emit_table, emit_text
from perhop.tokens.inspect import inspect_token

app = typer.Typer(no_args_is_help=True, help="Access tokens.")


@app.command()
def issue(
    client: Annotated[str, typer.Option(metavar="ID", help="The client that the token is for.")],
    resource: Annotated[str, typer.Option(metavar="NAME|URI", help="The one resource that it is good for.")],
    scope: Annotated[list[str] | None, typer.Option(metavar="S", help="A scope; may be given again.")] = None,
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
    """Print header and claims of a token and what is wrong with them; needs no network and proves no signature."""
    raw = (sys.stdin.read() if token == "-" else token).strip()
    inspection = inspect_token(raw, now=int(time.time()))
    if as_json:
        emit_json({"header": inspection.header, "claims": inspection.claims, "problems": list(inspection.problems)})
    else:
        emit_table(("HEADER", "VALUE"), inspection.header.items())
        emit_table(("CLAIM", "VALUE"), inspection.claims.items())
        emit_text("\n".join(f"wrong: {problem}" for problem in inspection.problems) or "nothing wrong was found")
    if inspection.problems:
        raise typer.Exit(ExitCode.CHECK_FAILED)
