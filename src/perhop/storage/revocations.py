"""Revocations in force, numbered as the feed tells them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.authorization_server.store import RevocationRow
from perhop.storage.engine import Database
from perhop.storage.refresh_families import covered_families, end_families
from perhop.storage.schema import revocation


class SqlRevocationRows:
    """Revocations in `perhop.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rows: Sequence[tuple[str, str, int, int]]) -> Sequence[RevocationRow]:
        """Add (kind, digest, not_before, expires_at) rows in one transaction; `seq` grows in the order given.

        Raises: StorageUnavailable
        """

        async def work(connection: AsyncConnection) -> list[RevocationRow]:
            return [await add_revocation(connection, *row) for row in rows]

        return await self._database.write(work)

    async def add_ending(
        self,
        rows: Sequence[tuple[str, str, int, int]],
        names: Sequence[tuple[str, str]],
        *,
        now: int,
        only_ending: bool = False,
    ) -> tuple[Sequence[RevocationRow], Sequence[str]]:
        """The same, and in the same transaction end every refresh family that one of the names (kind, value) covers.

        Returns the rows, and the ids of the families that were in force. With `only_ending` no row is added where
        there is none.

        Raises: StorageUnavailable
        """

        async def work(connection: AsyncConnection) -> tuple[list[RevocationRow], Sequence[str]]:
            ended = await end_families(connection, names, now=now)
            if only_ending and not ended:
                return [], ended
            return [await add_revocation(connection, *row) for row in rows], ended

        return await self._database.write(work)

    async def covered_families(self, names: Sequence[tuple[str, str]], *, now: int) -> Sequence[str]:
        """Ids of the families that `add_ending` would end now.

        Raises: StorageUnavailable
        """
        return await covered_families(self._database, names, now=now)

    async def after(self, seq: int, *, now: int) -> Sequence[RevocationRow]:
        """Rows in force with a higher `seq`, in order.

        Raises: StorageUnavailable
        """
        in_force = select(revocation).where(revocation.c.seq > seq, revocation.c.expires_at > now)
        rows = await self._database.rows(in_force.order_by(revocation.c.seq))
        return [RevocationRow(**row._mapping) for row in rows]


async def add_revocation(
    connection: AsyncConnection, kind: str, digest: str, not_before: int, expires_at: int
) -> RevocationRow:
    """Add one row in the transaction that is open: for what must not be done without being told.

    Raises: SQLAlchemyError
    """
    statement = insert(revocation).values(kind=kind, digest=digest, not_before=not_before, expires_at=expires_at)
    seq = (await connection.execute(statement.returning(revocation.c.seq))).scalar_one()
    return RevocationRow(seq=seq, kind=kind, digest=digest, not_before=not_before, expires_at=expires_at)
