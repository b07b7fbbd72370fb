"""The epoch in `perhop.db`: one row, and what its change drops."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, literal, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.authorization_server.epoch import EpochRow
from perhop.storage.engine import Database
from perhop.storage.schema import (
    agent_task,
    authorization_code,
    call_approval,
    consent,
    epoch,
    sign_in,
    token_record,
)

_FIRST = {"id": 1, "number": 1, "began_at": 0, "starts": 0}


class SqlEpochs:
    """The epoch of one database. A database without the row is in its first one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self) -> EpochRow:
        """Raises: StorageUnavailable."""
        rows = await self._database.rows(select(epoch.c.number, epoch.c.began_at, epoch.c.starts))
        return EpochRow(**rows[0]._mapping) if rows else EpochRow(number=1, began_at=0, starts=0)

    async def count_start(self) -> int:
        """Raises: StorageUnavailable."""
        return (await self._put({"starts": 1}, starts=epoch.c.starts + 1)).starts

    async def begin(self, *, now: int, above: int) -> EpochRow:
        """Raises: StorageUnavailable."""
        return await self._put(
            {"number": max(2, above + 1), "began_at": now},
            delete(authorization_code),
            delete(sign_in),
            delete(consent),
            delete(call_approval),
            update(agent_task).where(agent_task.c.ended_at.is_(None)).values(ended_at=now),
            number=func.max(epoch.c.number, above) + 1,
            began_at=now,
        )

    async def is_recorded(self, jti: str) -> bool:
        """Raises: StorageUnavailable."""
        return bool(await self._database.rows(select(literal(1)).where(token_record.c.jti == jti)))

    async def last_revocation(self) -> int:
        """Raises: StorageUnavailable."""
        rows = await self._database.rows(text("SELECT seq FROM sqlite_sequence WHERE name = 'revocation'"))
        return int(rows[0].seq) if rows else 0

    async def _put(self, first: dict[str, int], *statements: Any, **changes: Any) -> EpochRow:
        put = insert(epoch).values(**(_FIRST | first)).on_conflict_do_update(index_elements=(epoch.c.id,), set_=changes)

        async def work(connection: AsyncConnection) -> EpochRow:
            for statement in statements:
                await connection.execute(statement)
            returned = put.returning(epoch.c.number, epoch.c.began_at, epoch.c.starts)
            return EpochRow(**(await connection.execute(returned)).one()._mapping)

        return await self._database.write(work)
