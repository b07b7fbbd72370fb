"""States of signing keys; the keys themselves are files."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import case, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.storage.engine import Database
from perhop.storage.schema import key_state


class SqlKeyStates:
    """Key states in `perhop.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[str, tuple[str, int]]:
        """`kid` -> (state, since).

        Raises: StorageUnavailable
        """
        return {row.kid: (row.state, row.since) for row in await self._database.rows(select(key_state))}

    async def set(self, states: Mapping[str, str], *, now: int) -> None:
        """Set several states in one transaction; `since` moves only where the state changes.

        Raises: StorageUnavailable
        """
        if not states:
            return
        statement = insert(key_state)
        unchanged = key_state.c.state == statement.excluded.state
        statement = statement.on_conflict_do_update(
            index_elements=(key_state.c.kid,),
            set_={
                "state": statement.excluded.state,
                "since": case((unchanged, key_state.c.since), else_=statement.excluded.since),
            },
        )
        rows = [{"kid": kid, "state": state, "since": now} for kid, state in states.items()]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statement, rows)

        await self._database.write(work)
