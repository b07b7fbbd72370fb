"""`perhop init`: make an installation, or what is missing of one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from perhop.cli.options import AsJson
from perhop.cli.output import emit_json, emit_text, say


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made if it is not there.")] = Path(),
    upstream: Annotated[
        str | None, typer.Option("--upstream", metavar="URL", help="An MCP server that runs: the first resource.")
    ] = None,
    signing_key: Annotated[
        Path | None, typer.Option("--signing-key", metavar="PEM", help="Take over this PKCS#8 signing key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an installation, or what is missing of one. What is there is kept."""
    import asyncio

    from perhop.founding import found

    founded = asyncio.run(
        found(folder, upstream_url=upstream, signing_key_pem=signing_key, environ=os.environ, clock=time.time)
    )
    password = founded.admin_password.reveal() if founded.admin_password else None
    if as_json:
        emit_json(
            {
                "folder": str(founded.folder),
                "made": list(founded.made),
                "admin_password": password,
                "next": founded.next_command,
            }
        )
        return
    for made in founded.made:
        say(f"made {made}")
    if not founded.made and password is None:
        say("nothing was missing")
    if password is not None:
        say("The password of the account `admin`, shown once; it signs in to the console and nothing else:")
        emit_text(password)
    say(f"Next: {founded.next_command}")
