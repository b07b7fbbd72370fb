"""A task as somebody states it who asks what would be decided under it: what policy sees of it, and nothing else."""

from __future__ import annotations

from perhop.core.task import Task, TaskLimits

EXAMPLE = "example"
"""Its id."""


def state_task(client: str, purpose: str, *, subject: str | None, approved: bool, limits: TaskLimits, now: int) -> Task:
    """A task of this client, in force now. What it covers is no matter here: policy does not see that."""
    return Task(
        id=EXAMPLE,
        client=client,
        purpose=purpose,
        tools=(),
        limits=limits,
        created_at=now,
        expires_at=now + 1,
        subject=subject,
        approved_at=now if approved else None,
    )
