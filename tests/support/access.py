"""An authorization server that is asked about access: a calendar whose scopes list tools, and servers that ask."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from perhop.core.client import ClientSecret, GrantType
from perhop.core.resource import Scope
from perhop.core.secret import Secret
from tests.support.authorization_servers import SECRET, RunningServer, a_client, running_server

EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
SEARCH = "/access/v1/search"
READS = "calendar:read"
WRITES = "calendar:write"

POLICY = """\
@id("calls") permit (principal, action == MCP::Action::"call_tool", resource in MCP::Server::"calendar");
@id("rooms") permit (principal, action == MCP::Action::"call_tool", resource in MCP::Server::"rooms");
@id("agenda") permit (principal, action == MCP::Action::"get_prompt", resource == MCP::Prompt::"calendar/agenda");
@id("today") permit (principal, action == MCP::Action::"read_resource", resource)
when { resource.uri like "calendar://*" };
@id("no-deputies") forbid (principal, action, resource) when { context.actors.contains("deputy") };
@id("not-for-bob") forbid (principal, action, resource)
when { context has subject && context.subject == MCP::User::"user:bob" };
@id("short-titles")
forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/create_event")
unless { context.arguments has title && context.arguments.title == "lunch" };
"""

PLANNER: Mapping[str, Any] = {"type": "agent", "id": "trip-planner"}
LISTING: Mapping[str, Any] = {"type": "tool", "id": "calendar/list_events"}
CREATING: Mapping[str, Any] = {"type": "tool", "id": "calendar/create_event"}
CALLING: Mapping[str, Any] = {"name": "tools/call"}


@asynccontextmanager
async def access_server(folder: Path, policy: str = POLICY, **options: Any) -> AsyncIterator[RunningServer]:
    """`pep` serves the calendar, `both` the calendar and the rooms, `idle` nothing."""
    async with running_server(folder, **options) as server:
        registry = server.issuer.registry
        calendar = replace(
            registry.resources["calendar"],
            scopes={
                READS: Scope(name=READS, says="Read", tools=("list_*", "get_event"), default=True),
                WRITES: Scope(name=WRITES, says="Write", tools=("create_event",)),
            },
        )
        peps = {"pep": ("calendar",), "both": ("calendar", "rooms"), "idle": ()}
        authentication = ClientSecret("client_secret_basic", Secret(SECRET))
        clients = {
            name: a_client(name, authentication, GrantType.TOKEN_EXCHANGE, serves=serves)
            for name, serves in peps.items()
        }
        server.change_registry(
            resources={**registry.resources, "calendar": calendar}, clients={**registry.clients, **clients}
        )
        server.forbid(policy)
        yield server


def basic(client: str, secret: str = SECRET) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}


def question(**changes: Any) -> dict[str, Any]:
    """May the planner list events? But for what is changed; None takes a member out."""
    usual: dict[str, Any] = {"subject": dict(PLANNER), "action": dict(CALLING), "resource": dict(LISTING)}
    return {name: value for name, value in (usual | changes).items() if value is not None}


async def ask(
    server: RunningServer, body: Any, path: str = EVALUATION, *, client: str = "pep", **headers: str
) -> httpx2.Response:
    """One request, as this client."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await server.http.post(path, json=body, headers={**basic(client), **named})


async def decision(server: RunningServer, *, client: str = "pep", **changes: Any) -> dict[str, Any]:
    """The answer to one question, which must be an answer."""
    answer = await ask(server, question(**changes), client=client)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def reason(server: RunningServer, **changes: Any) -> str | None:
    """Why the answer is no; None for a yes."""
    answered = await decision(server, **changes)
    if answered["decision"]:
        return None
    return str(answered["context"]["reason"])


async def search(server: RunningServer, sought: str, body: Any, *, client: str = "pep") -> dict[str, Any]:
    """What a search finds."""
    answer = await ask(server, body, f"{SEARCH}/{sought}", client=client)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
