"""Assertions of clients, and of issuers that we trust: each id is good once.

Spec: RFC 7523 §3
"""

from __future__ import annotations

from sqlalchemy import bindparam, literal, text
from sqlalchemy.dialects.sqlite import insert

from perhop.storage.engine import Database
from perhop.storage.schema import assertion, spent_grant
from perhop.storage.short_writes import as_sql


_SPEND = as_sql(
    insert(assertion)
    .values({name: bindparam(name) for name in ("client_id", "jti", "expires_at")})
    .on_conflict_do_nothing()
    .returning(text("1"))
)


class SqlAssertions:
    """Spent assertion ids in `perhop.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spend(self, client_id: str, jti: str, *, expires_at: int) -> bool:
        """True for the first use of this client's assertion id, False for every other one.

        Raises: StorageUnavailable
        """
        spent = {"client_id": client_id, "jti": jti, "expires_at": expires_at}
        return await self._database.write_shortly(
            lambda connection: connection.execute(_SPEND, spent).fetchone() is not None
        )

    async def spend_grant(self, issuer: str, jti: str, *, expires_at: int) -> bool:
        """True for the first use of this issuer's assertion id, False for every other one.

        Raises: StorageUnavailable
        """
        spend = (
            insert(spent_grant)
            .values(issuer=issuer, jti=jti, expires_at=expires_at)
            .on_conflict_do_nothing()
            .returning(literal(1))
        )
        return bool(await self._database.apply(spend))
