"""Small MCP servers behind the guard: as applications, and as processes that uvicorn makes with `--factory`.

A process is told by the environment: `GUARDED_RESOURCE` is the audience, `GUARDED_ISSUER` the issuer; with
`GUARDED_REPLAY` single use is kept in that file, without it in memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from perhop.resource_server import Guard, SqliteReplay, current_token
from perhop.resource_server.asgi import AsgiApp
from perhop.resource_server.mcp_sdk import sdk_auth
from tests.support.processes import Running, free_port, started
from tests.support.sources import ROOT

Kind = Literal["fastmcp", "sdk"]
KINDS: tuple[Kind, ...] = ("fastmcp", "sdk")
SCOPE = "tools:use"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A running server: its endpoint, which is its audience too, and its process."""

    url: str
    process: Running


def whoami() -> dict[str, Any]:
    """Which process was called, and with which token."""
    token = current_token()
    return {"process": os.getpid(), "jti": token.jti, "agent": token.agent, "audience": token.resource}


class Word(BaseModel):
    """What a person is asked for."""

    word: str


def on_fastmcp(guard: Guard) -> AsgiApp:
    """A server on FastMCP, with a tool that reports progress and one that asks back."""
    import fastmcp  # where the SDK's server is wanted, its start need not wait for this

    from perhop.resource_server.fastmcp import fastmcp_auth

    server = fastmcp.FastMCP("fastmcp", auth=fastmcp_auth(guard))
    server.tool(whoami)

    async def count(to: int, ctx: fastmcp.Context) -> str:
        """Report progress."""
        for step in range(to):
            await ctx.report_progress(step + 1, to)
        return f"counted to {to}"

    async def ask(ctx: fastmcp.Context) -> str:
        """Ask the person for a word."""
        answer = await ctx.elicit("which word?", Word)
        return f"the word is {answer.data.word}" if answer.action == "accept" else answer.action

    for tool in (count, ask):
        # These annotations name what was imported in here.
        tool.__annotations__["ctx"] = fastmcp.Context
        server.tool(tool)
    # Which web pages may call is FastMCP's to check, and it checks when it is told.
    app: AsgiApp = server.http_app(host_origin_protection=True)
    return app


def on_sdk(guard: Guard) -> AsgiApp:
    """The same on the official SDK."""
    server = MCPServer("sdk", **sdk_auth(guard))
    server.tool()(whoami)

    @server.tool()
    async def count(to: int, ctx: Context[Any, Any]) -> str:
        """Report progress."""
        for step in range(to):
            await ctx.report_progress(step + 1, to)
        return f"counted to {to}"

    @server.tool()
    async def ask(ctx: Context[Any, Any]) -> str:
        """Ask the person for a word."""
        answer = await ctx.elicit("which word?", Word)
        return f"the word is {answer.data.word}" if answer.action == "accept" else answer.action

    return guard.asgi(server.streamable_http_app(host="127.0.0.1"))


APPS: Mapping[Kind, Callable[[Guard], AsgiApp]] = {"fastmcp": on_fastmcp, "sdk": on_sdk}


def fastmcp_app() -> AsgiApp:
    """As the environment says."""
    return on_fastmcp(_told_guard())


def sdk_app() -> AsgiApp:
    """As the environment says."""
    return on_sdk(_told_guard())


def _told_guard() -> Guard:
    kept_in = os.environ.get("GUARDED_REPLAY")
    return Guard(
        resource=os.environ["GUARDED_RESOURCE"],
        issuers=[os.environ["GUARDED_ISSUER"]],
        scopes=[SCOPE],
        replay=SqliteReplay(kept_in) if kept_in else None,
    )


def telling(resource: str, issuer: str, *, replay: Path | None = None) -> Mapping[str, str]:
    """The environment of such a process."""
    told = {"GUARDED_RESOURCE": resource, "GUARDED_ISSUER": issuer}
    return told if replay is None else told | {"GUARDED_REPLAY": str(replay)}


def command(kind: Kind, port: int, *, workers: int = 1) -> list[str]:
    """uvicorn, with this server in so many processes."""
    words = ["--factory", f"{__name__}:{kind}_app", "--port", str(port), "--workers", str(workers)]
    return [sys.executable, "-m", "uvicorn", *words, "--timeout-graceful-shutdown", "1"]


@contextmanager
def guarded(kind: Kind, issuer: str, *, replay: Path | None = None, workers: int = 1) -> Iterator[Guarded]:
    """Such a server on a free port, for as long as the block lasts."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    told = telling(url, issuer, replay=replay)
    with started(command(kind, port, workers=workers), ports=[port], environment=told, folder=ROOT) as process:
        yield Guarded(url, process)
