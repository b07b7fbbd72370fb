"""The task that a request for a token names: one at most, this client's, in force, and naming the resource.

Spec: RFC 9396 §5
Spec: RFC 9396 §6
"""

from __future__ import annotations

from collections.abc import Callable

from perhop.authorization_server.issuer import Issuer
from perhop.core.client import Client
from perhop.core.resource import Resource
from perhop.core.task import Task
from perhop.errors import (
    Refused,
    TargetOutsideTask,
    TaskExpired,
    TaskOutside,
    TaskRefused,
    TaskSuperseded,
    TokenRefused,
)
from perhop.rules.task import check_resource, check_subject, parse_task_named


def find_named_task(details: str | None, client: Client, resource: Resource, issuer: Issuer) -> Task | None:
    """The task that `authorization_details` names; None where the parameter is absent.

    Does not look for whom the task is: see `check_task_subject`.

    Spec: RFC 9396 §5
    Raises: DetailsMalformed, TaskRefused, TargetOutsideTask
    """
    named = parse_task_named(details)
    if named is None:
        return None
    try:
        task = issuer.tasks.of_client(named, agent=client.id)
    except (TaskOutside, TaskSuperseded, TaskExpired) as fact:
        raise TaskRefused(fact) from None
    try:
        check_resource(task, resource.name)
    except TaskOutside as fact:
        raise TargetOutsideTask(fact.detail) from None
    return task


def consented_task(
    task: str | None, *, client: str, subject: str, over: Callable[[Refused], TokenRefused], issuer: Issuer
) -> Task | None:
    """The task that the person approved with the consent, if it named one and that is in force still.

    Raises: what `over` makes of a task that is not
    """
    if task is None:
        return None
    try:
        return issuer.tasks.check(task, agent=client, subject=subject)
    except (TaskOutside, TaskSuperseded, TaskExpired) as fact:
        raise over(fact) from None


def check_task_subject(task: Task | None, subject: str) -> None:
    """Refuse a task that is another person's.

    Raises: TaskRefused
    """
    try:
        if task is not None:
            check_subject(task, subject)
    except TaskOutside as fact:
        raise TaskRefused(fact) from None


def check_same_task(details: str | None, task: str | None) -> None:
    """Where the task was fixed before, a request may name it again, and no other.

    Spec: RFC 9396 §6
    Raises: DetailsMalformed, TaskRefused
    """
    named = parse_task_named(details)
    if named is not None and named != task:
        raise TaskRefused(TaskOutside("the request names another task than what it rests on"))
