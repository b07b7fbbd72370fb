"""Tasks at a gateway of tests: begun as the endpoint begins them, and tokens that name them."""

from __future__ import annotations

import secrets
from typing import Any

from perhop.authorization_server.tasks import TaskRequest
from perhop.core.client import ClientSecret
from perhop.core.secret import Secret
from perhop.core.task import Task, TaskLimits, ToolPattern
from perhop.journal.record import RequestFacts
from tests.support.authorization_servers import a_client
from tests.support.gateways import World

AGENT = a_client("trip-planner", ClientSecret("client_secret_basic", Secret("s" * 40)))


async def begin(
    world: World,
    *tools: str,
    calls: int | None = None,
    writes: int | None = None,
    expires_in: int = 600,
    supersedes: str | None = None,
) -> Task:
    """A task of the agent's, of the whole calendar if no tools are named. Not among the records that a world counts."""
    asked = TaskRequest(
        purpose="plan the trip",
        tools=tuple(ToolPattern(*each.split("/", 1)) for each in tools or ("calendar/*",)),
        limits=TaskLimits(calls=calls, writes=writes),
        expires_in=expires_in,
        supersedes=supersedes,
    )
    return await world.tasks.begin(asked, AGENT, task_id=secrets.token_hex(8), request=RequestFacts())


def token(world: World, task: Task | str, **claims: Any) -> str:
    """A token of the world's issuer that names this task."""
    named = task if isinstance(task, str) else task.id
    return world.token(authorization_details=[{"type": "agent_task", "id": named}], **claims)
