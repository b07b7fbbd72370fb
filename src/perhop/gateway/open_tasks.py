"""Open tasks: the McpTasks that permitted calls have opened at one upstream, and the call that each stands for.

A task is asked about by id alone, so who may ask is known from here: its own principal, and what is decided on is the
call that has opened it. Kept in memory: after a restart a task is unknown, and its caller has to call again.

Spec: MCP 2025-11-25 tasks
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.call import Action, Target
from perhop.errors import McpTaskUnknown
from perhop.rules.session_seal import Principal

MAX_PRINCIPALS = 10_000
MAX_TASKS = 1_000
MAX_OCTETS = 1024 * 1024
"""Of arguments that are kept for one principal: as much as one call can bring."""

MAX_OCTETS_OF_ALL = 256 * 1024 * 1024
MAX_ID_LENGTH = 1_024


@dataclass(frozen=True, slots=True)
class Opening:
    """The call that opens a task: its tool, its arguments, and how large they are."""

    tool: str
    arguments: Mapping[str, Any]
    octets: int

    @property
    def target(self) -> Target:
        """What is decided on for every word about the task."""
        return Target(Action.CALL_TOOL, self.tool, self.arguments)


class OpenTasks:
    """Openings by principal and task id; the least recently used principals are forgotten first, and oldest tasks."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[Principal, OrderedDict[str, Opening]] = OrderedDict()
        self._owners: dict[str, Principal] = {}
        self._octets: dict[Principal, int] = {}
        self._octets_of_all = 0

    def opened(self, by: Principal, task: str, opening: Opening) -> None:
        """A permitted call of this principal was answered with a task. Whoever had this id first keeps it."""
        if not 0 < len(task) <= MAX_ID_LENGTH or self._owners.get(task, by) != by:
            return
        self._forget(by, task)
        tasks = self._tasks.setdefault(by, OrderedDict())
        self._tasks.move_to_end(by)
        tasks[task] = opening
        self._owners[task] = by
        self._count(by, opening.octets)
        while len(tasks) > 1 and (len(tasks) > MAX_TASKS or self._octets[by] > MAX_OCTETS):
            self._forget(by, next(iter(tasks)))
        while len(self._tasks) > 1 and (len(self._tasks) > MAX_PRINCIPALS or self._octets_of_all > MAX_OCTETS_OF_ALL):
            self._forget_all_of(next(iter(self._tasks)))

    def is_of(self, by: Principal, task: object) -> bool:
        """True for a task that this principal has opened."""
        return isinstance(task, str) and self._owners.get(task) == by

    def opening_of(self, by: Principal, task: str) -> Opening:
        """The call that has opened a task of this principal.

        Raises: McpTaskUnknown
        """
        owner = self._owners.get(task)
        if owner != by:
            raise McpTaskUnknown("nobody has opened this task" if owner is None else "another principal's task")
        self._tasks.move_to_end(by)
        return self._tasks[by][task]

    def _forget_all_of(self, principal: Principal) -> None:
        for task in list(self._tasks[principal]):
            self._forget(principal, task)

    def _forget(self, principal: Principal, task: str) -> None:
        tasks = self._tasks.get(principal)
        if tasks is None or task not in tasks:
            return
        self._count(principal, -tasks.pop(task).octets)
        del self._owners[task]
        if not tasks:
            del self._tasks[principal], self._octets[principal]

    def _count(self, principal: Principal, octets: int) -> None:
        self._octets[principal] = self._octets.get(principal, 0) + octets
        self._octets_of_all += octets


def task_opened_by(message: object) -> object:
    """The task id in the answer to a call: in `task` under 2025-11-25, beside `resultType` in the extension."""
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict):
        return None
    if result.get("resultType") == "task":
        return result.get("taskId")
    task = result.get("task")
    return task.get("taskId") if isinstance(task, dict) else None
