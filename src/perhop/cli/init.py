"""`perhop init`: make an installation, or what is missing of one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.options import AsJson
from perhop.cli.output import counted, emit_json, emit_text, progress, say

if TYPE_CHECKING:
    from perhop.founding import FirstResource, Founded, Told

TOLD_NAMES = 20
"""How many names of tools that were left out are told; a server may have made up any number of them."""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made if it is not there.")] = Path(),
    upstream: Annotated[
        str | None,
        typer.Option(
            "--upstream",
            metavar="URL",
            help="An MCP server that runs: the first resource. It is asked for its tools, without a token.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What that resource is called (default: by its URL).")
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
        found(
            folder,
            upstream_url=upstream,
            name=name,
            signing_key_pem=signing_key,
            environ=os.environ,
            clock=time.time,
            ask=_ask,
        )
    )
    password = founded.admin_password.reveal() if founded.admin_password else None
    if as_json:
        _tell(founded.resource)
        emit_json(_as_json(founded))
        return
    for made in founded.made:
        say(f"made {made}")
    if not founded.made and password is None:
        say("nothing was missing")
    _tell(founded.resource)
    if password is not None:
        say("The password of the account `admin`, shown once; it signs in to the console and nothing else:")
        emit_text(password)
    say(f"Next: {founded.next_command}")


async def _ask(url: str) -> Told:
    from perhop.founding import ask_server

    with progress("asking the server for its tools"):
        return await ask_server(url)


def _tell(resource: FirstResource | None) -> None:
    """Say what became of the server's tools."""
    if resource is None:
        return
    name, tools, total = resource.name, resource.tools, len(resource.definitions)
    if resource.problem:
        say(f"the server told nothing of its tools: {resource.problem}")
        say(f"  one scope, {name}:use, is over all of them. While perhop serves: perhop resource tools {name}")
    elif not tools.are_split:
        say(
            f"none of {counted(total, 'tool')} is marked read-only (`readOnlyHint`): one scope, {name}:use, is over all"
        )
    else:
        parts = [f"{len(tools.read)} read-only ({name}:read)"]
        parts += [f"{len(tools.write)} that may change something ({name}:write)"] if tools.write else []
        say(f"{counted(len(tools.read) + len(tools.write), 'tool')}: {', '.join(parts)}")
    if resource.approved:
        say(
            f"  approved as they are now: a tool that changes is refused until `perhop resource tools {name} --approve`"
        )
    if tools.left_out and tools.are_split:
        more = len(tools.left_out) - TOLD_NAMES
        told = ", ".join(f"`{each}`" for each in tools.left_out[:TOLD_NAMES]) + (
            f" and {more} more" if more > 0 else ""
        )
        say(f"  left out, so that they cannot be called: {told}")


def _as_json(founded: Founded) -> dict[str, Any]:
    return {
        "folder": str(founded.folder),
        "made": list(founded.made),
        "admin_password": founded.admin_password.reveal() if founded.admin_password else None,
        "next": founded.next_command,
        "resource": None if founded.resource is None else _resource_as_json(founded.resource),
    }


def _resource_as_json(resource: FirstResource) -> dict[str, Any]:
    tools = resource.tools
    return {
        "name": resource.name,
        "scopes": list(resource.scopes),
        "read": [tool.name for tool in tools.read],
        "write": [tool.name for tool in tools.write],
        "approved": resource.approved,
        "left_out": list(tools.left_out[:TOLD_NAMES]),
        "left_out_count": len(tools.left_out),
        "problem": resource.problem,
    }
