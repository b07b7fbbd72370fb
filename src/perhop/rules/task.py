"""Tasks: how one is named, when one is over, and what it covers.

Spec: RFC 9396 §2
"""

from __future__ import annotations

from collections.abc import Iterable

from perhop.core.call import Action, Target
from perhop.core.task import Task, TaskUse
from perhop.errors import (
    DetailsMalformed,
    JsonUnparsable,
    LimitExceeded,
    TaskExpired,
    TaskOutside,
    TaskSuperseded,
)
from perhop.rules.strict_json import parse_json

AGENT_TASK = "agent_task"
"""The one type of `authorization_details` that requests may name."""

MAX_DETAILS_BYTES = 2048
MAX_ID_LENGTH = 256


def parse_task_named(details: str | None) -> str | None:
    """The id of the one task that `authorization_details` names; None where the parameter is absent.

    Nothing else may stand there: a member that is not understood may be meant to narrow.

    Spec: RFC 9396 §2
    Raises: DetailsMalformed
    """
    if details is None:
        return None
    try:
        found = parse_json(details.encode(), max_bytes=MAX_DETAILS_BYTES)
    except (JsonUnparsable, UnicodeEncodeError) as error:
        raise DetailsMalformed(f"`authorization_details`: {error}") from None
    match found:
        case [{"type": "agent_task", "id": str(task), **more}] if not more and 0 < len(task) <= MAX_ID_LENGTH:
            return task
        case _:
            raise DetailsMalformed('`authorization_details` is not `[{"type": "agent_task", "id": ...}]`')


def check_in_force(task: Task, *, now: int) -> None:
    """Refuse a task that another one has replaced, or that is over.

    Raises: TaskSuperseded, TaskExpired
    """
    if task.superseded_by is not None:
        raise TaskSuperseded(f"task `{task.id}` was superseded by `{task.superseded_by}`")
    if task.ended_at is not None:
        raise TaskExpired(f"task `{task.id}` was ended")
    if now >= task.expires_at:
        raise TaskExpired(f"task `{task.id}` expired {now - task.expires_at} s ago")


def is_in_force(task: Task, *, now: int) -> bool:
    """True where `check_in_force` refuses nothing."""
    return task.superseded_by is None and task.ended_at is None and now < task.expires_at


def check_client(task: Task, agent: str) -> None:
    """Refuse another client than the one that began the task.

    Raises: TaskOutside
    """
    if task.client != agent:
        raise TaskOutside(f"task `{task.id}` is another client's")


def check_subject(task: Task, subject: str) -> None:
    """Refuse another subject than the person whose task it is, if it is a person's.

    Raises: TaskOutside
    """
    if task.subject is not None and task.subject != subject:
        raise TaskOutside(f"task `{task.id}` is another person's")


def check_resource(task: Task, resource: str) -> None:
    """Refuse a resource that no pattern of the task names.

    Raises: TaskOutside
    """
    if not task.names_resource(resource):
        raise TaskOutside(f"task `{task.id}` does not name `{resource}`")


def check_covered(task: Task, resource: str, targets: Iterable[Target]) -> None:
    """Refuse a call of which anything is not covered. A handshake or a notification touches nothing of a resource.

    Raises: TaskOutside
    """
    check_resource(task, resource)
    for target in targets:
        if not is_covered(task, resource, target):
            raise TaskOutside(f"task `{task.id}` does not cover {target.action.value} `{target.name}`")


def is_covered(task: Task, resource: str, target: Target) -> bool:
    """True for a tool that a pattern matches; for a prompt or McpResource, if the task has the whole resource."""
    match target.action:
        case Action.CALL_TOOL:
            return task.covers_tool(resource, target.name)
        case Action.GET_PROMPT | Action.READ_RESOURCE:
            return task.covers_all_of(resource)
        case Action.LIST | Action.EXCHANGE | Action.ISSUE:
            return task.names_resource(resource)


def check_limits(task: Task, used: TaskUse, *, is_write: bool) -> None:
    """Refuse one call more than the task may make. Who counts must do it in one step with the last look.

    Raises: LimitExceeded
    """
    limits = task.limits
    if limits.calls is not None and used.calls >= limits.calls:
        raise LimitExceeded(f"task `{task.id}` has made its {limits.calls} calls")
    if is_write and limits.writes is not None and used.writes >= limits.writes:
        raise LimitExceeded(f"task `{task.id}` has made its {limits.writes} writes")
