"""People of other issuers: our own name for each, found by the issuer and its name for them."""

from __future__ import annotations

from sqlalchemy import Select, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.storage.engine import Database
from perhop.storage.schema import federated_subjects


class SqlFederatedSubjects:
    """The people of other issuers in `perhop.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, issuer: str, subject: str) -> str | None:
        """Our name for this person of this issuer; None if they are not known.

        Raises: StorageUnavailable
        """
        rows = await self._database.rows(_wanted(issuer, subject))
        return str(rows[0].user) if rows else None

    async def add(self, issuer: str, subject: str, *, user: str) -> str:
        """Our name for this person from now on: this one, or the one that somebody else has just given.

        Raises: StorageUnavailable
        """
        added = insert(federated_subjects).values(issuer=issuer, subject=subject, user=user).on_conflict_do_nothing()

        async def work(connection: AsyncConnection) -> str:
            await connection.execute(added)
            return str((await connection.execute(_wanted(issuer, subject))).scalar_one())

        return await self._database.write(work)


def _wanted(issuer: str, subject: str) -> Select[tuple[str]]:
    return select(federated_subjects.c.user).where(
        federated_subjects.c.issuer == issuer, federated_subjects.c.subject == subject
    )
