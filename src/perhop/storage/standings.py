"""Standing: the file defines objects, the database remembers which of them were disabled."""

from __future__ import annotations

from sqlalchemy import and_, false, literal, not_, select, true, tuple_, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.storage.engine import Database
from perhop.storage.schema import standing

REMOVED = "removed from the file"
"""Why an object is disabled that the file once defined and now does not."""


_KEY = (standing.c.kind, standing.c.name)


class SqlStandings:
    """Standing in `perhop.db`. INVARIANT: only `enable` sets `disabled` to false on a row that has it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def disabled(self) -> frozenset[tuple[str, str]]:
        """Every (kind, name) that is disabled.

        Raises: StorageUnavailable
        """
        rows = await self._database.rows(select(standing.c.kind, standing.c.name).where(standing.c.disabled == true()))
        return frozenset((row.kind, row.name) for row in rows)

    async def disable(self, kind: str, name: str, *, why: str, now: int) -> None:
        """Disable; of an object that is disabled already, the first reason stays.

        Raises: StorageUnavailable
        """
        put = {"disabled": True, "why": why, "since": now}
        statement = insert(standing).values(kind=kind, name=name, defined=False, **put)
        await self._database.apply(
            statement.on_conflict_do_update(index_elements=_KEY, set_=put, where=standing.c.disabled == false())
        )

    async def enable(self, kind: str, name: str, *, now: int) -> bool:
        """True if it was disabled before.

        Raises: StorageUnavailable
        """
        statement = (
            update(standing)
            .where(standing.c.kind == kind, standing.c.name == name, standing.c.disabled == true())
            .values(disabled=False, why="", since=now)
            .returning(literal(1))
        )
        return bool(await self._database.apply(statement))

    async def reconcile(self, defined: frozenset[tuple[str, str]], *, now: int) -> frozenset[tuple[str, str]]:
        """Remember what the file defines; disable what it defined before and no longer does; returns those.

        Raises: StorageUnavailable
        """
        names = sorted(defined)
        removed = standing.c.defined == true()
        if names:
            removed = and_(removed, not_(tuple_(standing.c.kind, standing.c.name).in_(names)))
        disable = update(standing).where(removed, standing.c.disabled == false())
        disable = disable.values(disabled=True, why=REMOVED, since=now)
        forget = update(standing).where(removed).values(defined=False).returning(standing.c.kind, standing.c.name)
        remember = insert(standing).on_conflict_do_update(index_elements=_KEY, set_={"defined": True})
        fresh = {"defined": True, "disabled": False, "why": "", "since": now}

        async def work(connection: AsyncConnection) -> frozenset[tuple[str, str]]:
            await connection.execute(disable)
            gone = frozenset((row.kind, row.name) for row in await connection.execute(forget))
            if names:
                await connection.execute(remember, [{"kind": kind, "name": name, **fresh} for kind, name in names])
            return gone

        return await self._database.write(work)
