"""Local servers for tests: the hand-written one in each era, the official SDK's, and messages for them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from perhop.core.resource import CredentialKind, LocalCommand, Scope, Upstream
from perhop.gateway.upstream.stdio import StdioUpstream
from perhop.rules.mcp_methods import Era
from tests.support.gateways import World, gateway
from tests.support.sources import ROOT
from tests.support.upstreams import legacy, modern

SERVER = Path(__file__).with_name("stdio_server.py")
SDK_SERVER = "from tests.support.upstreams import sdk_server; sdk_server().run('stdio')"
EVERY_TOOL = {"all": Scope(name="all", says="everything", tools=("*",))}
PATIENCE = 60.0


def run_by(*words: str, answer_timeout: int = 60, **more: Any) -> Upstream:
    """An upstream that is this command, in the project's folder."""
    command = LocalCommand(words=words, folder=str(ROOT), **more)
    return Upstream(command=command, resource=None, credential=CredentialKind.NONE, answer_timeout=answer_timeout)


def small_server(era: str, *flags: str, **more: Any) -> Upstream:
    """The hand-written server in this era: `modern`, `legacy` or `both`."""
    return run_by(sys.executable, str(SERVER), era, *flags, **more)


def sdk_stdio_server() -> Upstream:
    """The server of the official SDK over its standard streams."""
    return run_by(sys.executable, "-c", SDK_SERVER)


@asynccontextmanager
async def gateway_before(folder: Path, upstream: Upstream) -> AsyncIterator[World]:
    """A gateway in front of a local server that is up; every tool may be called."""
    async with gateway(folder, upstream=upstream) as world:
        world.replace_gate(resource=replace(world.gate.resource, scopes=EVERY_TOOL))
        await until_up(world)
        yield world


async def until_up(world: World, *, without: Sequence[int] = ()) -> None:
    """Return once the server is up and it is known what it speaks; and once it is noticed that these have ended."""
    async with asyncio.timeout(PATIENCE):
        while not world.way.eras or set(without) & set(pids(world)):
            await asyncio.sleep(0.02)


def pids(world: World) -> list[int]:
    """The processes of the server."""
    assert isinstance(world.way, StdioUpstream)
    return world.way.pids


def calling(
    tool: str, era: Era = Era.MODERN, *, rpc_id: Any = 1, token: Any = None, **arguments: Any
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a call; with a progress token if one is given."""
    write = modern if era is Era.MODERN else legacy
    headers, body = write("tools/call", {"name": tool, "arguments": arguments}, rpc_id=rpc_id)
    message = json.loads(body)
    if token is not None:
        message["params"].setdefault("_meta", {})["progressToken"] = token
    return headers, json.dumps(message).encode()


async def ask(world: World, request: tuple[dict[str, str], bytes], **claims: Any) -> httpx2.Response:
    """Send a message as the caller whom these claims describe."""
    session = claims.pop("session", None)
    headers = {} if session is None else {"mcp_session_id": session}
    return await world.send(request, token=world.token(scope="all", **claims), **headers)


async def say(world: World, tool: str, **arguments: Any) -> str:
    """Call a tool of a server of the stateless era; the text that it answers."""
    answer = await ask(world, calling(tool, **arguments))
    assert answer.status_code == 200, answer.text
    return text_of(answer)


def messages_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    """Every message of an answer, in order, whether it is JSON or a stream."""
    if answer.headers.get("content-type") == "text/event-stream":
        return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(answer.content)]


def text_of(answer: httpx2.Response) -> str:
    """The text of a tool's answer."""
    return str(messages_of(answer)[-1]["result"]["content"][0]["text"])


async def open_session(world: World, **claims: Any) -> str:
    """A session of the handshake era, as the client knows it."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    answer = await ask(world, legacy("initialize", params, rpc_id=0), **claims)
    assert answer.status_code == 200, answer.text
    session = str(answer.headers["mcp-session-id"])
    headers, body = legacy("notifications/initialized")
    told = {key: value for key, value in json.loads(body).items() if key != "id"}
    sent = await ask(world, (headers, json.dumps(told).encode()), session=session, **claims)
    assert sent.status_code == 202
    return session


async def say_in(world: World, session: str, tool: str, *, rpc_id: Any = 1, **arguments: Any) -> str:
    """Call a tool in a session; the text that it answers."""
    answer = await ask(world, calling(tool, Era.LEGACY, rpc_id=rpc_id, **arguments), session=session)
    assert answer.status_code == 200, answer.text
    return text_of(answer)
