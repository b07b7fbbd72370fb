"""The operation on tasks: ending one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.control.operator import by_operator
from perhop.errors import NotFound
from perhop.wiring.plane import Plane


async def end_task(plane: Plane, *, task: str, why: str) -> Mapping[str, Any]:
    """End a task, and revoke its tokens. One that is over already stays as it is.

    Raises: NotFound, StorageUnavailable, JournalUnavailable
    """
    if plane.issuer.tasks.find(task) is None:
        raise NotFound(f"there is no task `{task}`, or it expired long ago", advice="run `perhop task list --all`")
    live = await plane.issuer.tasks.end(task, why=why, by=by_operator())
    return {"task": task, "ended": live is not None, "live": live or 0}
