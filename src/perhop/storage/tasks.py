"""Tasks of agents: each change is one statement that looks whether the task is in force and changes it, or does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.authorization_server.store import Ended, StoredTask, Superseded
from perhop.core.task import Task, TaskLimits, TaskUse, ToolPattern
from perhop.rules.revocation import RevocationKind, revocation_digest
from perhop.storage.engine import Database
from perhop.storage.revocations import add_revocation
from perhop.storage.schema import AS_ADDED, agent_task

_COLUMNS = agent_task.c


class SqlTaskRows:
    """Tasks in `perhop.db`. INVARIANT: counts only grow, and never beyond the limit beside them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, *, since: int) -> Sequence[StoredTask]:
        """Every task that expires after `since`, the oldest first.

        Raises: StorageUnavailable
        """
        kept = select(agent_task).where(_COLUMNS.expires_at > since)
        rows = await self._database.rows(kept.order_by(_COLUMNS.created_at, AS_ADDED))
        return [StoredTask(_task(row), TaskUse(row.calls, row.writes)) for row in rows]

    async def add(self, task: Task) -> None:
        """Durable when it returns.

        Raises: StorageUnavailable
        """
        await self._database.apply(insert(agent_task).values(**_values(task)))

    async def supersede(self, old: str, task: Task, *, revoked: tuple[int, int]) -> Superseded | None:
        """Put `task` in the place of the old one, and revoke the old one's tokens, in one transaction.

        Of many that try at the same time one is first, and it alone finds the old one in force.

        Raises: StorageUnavailable
        """
        replace = (
            update(agent_task)
            .where(_is_in_force(old, now=task.created_at), _COLUMNS.client == task.client)
            .values(superseded_by=task.id)
            .returning(agent_task)
        )

        async def work(connection: AsyncConnection) -> Superseded | None:
            replaced = (await connection.execute(replace)).one_or_none()
            if replaced is None:
                return None
            written = {**_values(task), "subject": replaced.subject}
            stored = (await connection.execute(insert(agent_task).values(**written).returning(agent_task))).one()
            return Superseded(await _ended(connection, replaced, revoked), _task(stored))

        return await self._database.write(work)

    async def approve(self, task: str, *, subject: str, now: int) -> Task | None:
        """The task, approved by this person; None if it is not in force, or another person's.

        Raises: StorageUnavailable
        """
        statement = (
            update(agent_task)
            .where(_is_in_force(task, now=now), or_(_COLUMNS.subject.is_(None), _COLUMNS.subject == subject))
            .values(subject=subject, approved_at=now)
            .returning(agent_task)
        )
        rows = await self._database.apply(statement)
        return _task(rows[0]) if rows else None

    async def end(self, task: str, *, now: int, revoked: tuple[int, int]) -> Ended | None:
        """End a task, and revoke its tokens, in one transaction; None if it is not in force.

        Raises: StorageUnavailable
        """
        statement = update(agent_task).where(_is_in_force(task, now=now)).values(ended_at=now).returning(agent_task)

        async def work(connection: AsyncConnection) -> Ended | None:
            row = (await connection.execute(statement)).one_or_none()
            return None if row is None else await _ended(connection, row, revoked)

        return await self._database.write(work)

    async def count(self, task: str, *, is_write: bool, now: int) -> TaskUse | None:
        """Count one call more: the look at the limit and the count are one statement.

        Raises: StorageUnavailable
        """
        room = [or_(_COLUMNS.max_calls.is_(None), _COLUMNS.calls < _COLUMNS.max_calls)]
        if is_write:
            room.append(or_(_COLUMNS.max_writes.is_(None), _COLUMNS.writes < _COLUMNS.max_writes))
        statement = (
            update(agent_task)
            .where(_is_in_force(task, now=now), *room)
            .values(calls=_COLUMNS.calls + 1, writes=_COLUMNS.writes + int(is_write))
            .returning(_COLUMNS.calls, _COLUMNS.writes)
        )
        rows = await self._database.apply(statement)
        return TaskUse(rows[0].calls, rows[0].writes) if rows else None


def _is_in_force(task: str, *, now: int) -> ColumnElement[bool]:
    return and_(
        _COLUMNS.id == task,
        _COLUMNS.superseded_by.is_(None),
        _COLUMNS.ended_at.is_(None),
        _COLUMNS.expires_at > now,
    )


async def _ended(connection: AsyncConnection, row: Row[Any], revoked: tuple[int, int]) -> Ended:
    row_of_feed = await add_revocation(connection, RevocationKind.TASK.value, revocation_digest(row.id), *revoked)
    return Ended(_task(row), row_of_feed)


def _values(task: Task) -> Mapping[str, Any]:
    return {
        "id": task.id,
        "client": task.client,
        "subject": task.subject,
        "purpose": task.purpose,
        "tools": json.dumps([str(pattern) for pattern in task.tools]),
        "max_calls": task.limits.calls,
        "max_writes": task.limits.writes,
        "created_at": task.created_at,
        "expires_at": task.expires_at,
    }


def _task(row: Row[Any]) -> Task:
    return Task(
        id=row.id,
        client=row.client,
        purpose=row.purpose,
        tools=tuple(ToolPattern(*pattern.split("/", 1)) for pattern in json.loads(row.tools)),
        limits=TaskLimits(calls=row.max_calls, writes=row.max_writes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        subject=row.subject,
        approved_at=row.approved_at,
        ended_at=row.ended_at,
        superseded_by=row.superseded_by,
    )
