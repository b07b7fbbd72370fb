"""Authorization codes: each is redeemed once.

Spec: RFC 6749 §4.1.2
Spec: RFC 9700 §2.1.1
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import bindparam, insert, literal_column, select, update

from perhop.authorization_server.store import AuthorizationCode, Consumed, Replayed
from perhop.core.authentication import Authentication
from perhop.storage.engine import Database
from perhop.storage.refresh_families import family_of_code
from perhop.storage.schema import authorization_code, token_record
from perhop.storage.scope_text import join_scopes, split_scopes
from perhop.storage.short_writes import as_sql, one_row


class SqlAuthorizationCodes:
    """Codes in `perhop.db`, by their SHA-256."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, code: AuthorizationCode) -> None:
        """Durable when it returns.

        Raises: StorageUnavailable
        """
        await self._database.apply(
            insert(authorization_code).values(
                code_hash=code.code_hash,
                client_id=code.client_id,
                subject=code.subject,
                redirect_uri=code.redirect_uri,
                code_challenge=code.code_challenge,
                resource=code.resource,
                scope=join_scopes(code.scopes),
                expires_at=code.expires_at,
                task=code.task,
                terms=code.terms,
                sender=code.sender,
                auth_time=code.authentication.time,
                acr=code.authentication.acr,
            )
        )

    async def consume(self, code_hash: str) -> Consumed | Replayed | None:
        """Consumed for the first caller, Replayed for every later one, None if never issued.

        Does not look at the expiry. The count of uses is the whole decision, made by one statement.

        Raises: StorageUnavailable
        """

        def work(connection: sqlite3.Connection) -> Consumed | Replayed | None:
            which = {"the_hash": code_hash}
            row = one_row(connection.execute(_COUNT, which))
            if row is None:
                return None
            if row.uses == 1:
                return Consumed(_code(row))
            tokens = connection.execute(_TOKENS, which).fetchall()
            return Replayed(tuple(jti for (jti,) in tokens), family_of_code(connection, code_hash))

        return await self._database.write_shortly(work)


_COUNT = as_sql(
    update(authorization_code)
    .where(authorization_code.c.code_hash == bindparam("the_hash"))
    .values(uses=authorization_code.c.uses + literal_column("1"))
    .returning(authorization_code)
)
_TOKENS = as_sql(select(token_record.c.jti).where(token_record.c.code_hash == bindparam("the_hash")))


def _code(row: Any) -> AuthorizationCode:
    return AuthorizationCode(
        code_hash=row.code_hash,
        client_id=row.client_id,
        subject=row.subject,
        redirect_uri=row.redirect_uri,
        code_challenge=row.code_challenge,
        resource=row.resource,
        scopes=split_scopes(row.scope),
        expires_at=row.expires_at,
        task=row.task,
        terms=row.terms,
        sender=row.sender,
        authentication=Authentication(row.auth_time, row.acr),
    )
