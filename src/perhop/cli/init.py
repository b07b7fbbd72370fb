"""`perhop init`: make an installation, or what is missing of one."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from perhop.cli.output import AsJson, emit_json, emit_text, say
from perhop.founding import found


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder; made if it is not there.")] = Path(),
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="An MCP server that runs: becomes the first resource.")
    ] = None,
    signing_key: Annotated[
        Path | None, typer.Option("--signing-key", metavar="PEM", help="Take over this PKCS#8 signing key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make configuration, policies, keys, database and journal; keep what is there."""
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
    if password is not None:
        say("The password of the account `admin`, shown once; it signs in to the console and nothing else:")
        emit_text(password)
    say(f"Next: {founded.next_command}")
