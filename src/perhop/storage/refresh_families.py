"""Refresh families and their tokens. What spends a token or ends a family is part of another store's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, false, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.authorization_server.refresh_families import (
    FirstOfFamily,
    RefreshFamily,
    RefreshToken,
    StoredRefreshToken,
)
from perhop.core.authentication import Authentication
from perhop.rules.revocation import RevocationKind, revocation_digest
from perhop.storage.engine import Database
from perhop.storage.schema import refresh_family, refresh_token, revocation
from perhop.storage.scope_text import join_scopes, split_scopes
from perhop.storage.short_writes import as_sql, one_row

_FAMILY = refresh_family.c
_TOKEN = refresh_token.c


class SqlRefreshTokens:
    """Refresh tokens in `perhop.db`, as they stand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, token_hash: str) -> StoredRefreshToken | None:
        """The token, spent or not, of a family that may be over; None if it was never issued, or is long gone.

        Raises: StorageUnavailable
        """

        def work(connection: sqlite3.Connection) -> StoredRefreshToken | None:
            row = one_row(connection.execute(_FIND, {"the_hash": token_hash}))
            if row is None:
                return None
            family = one_row(connection.execute(_FIND_FAMILY, {"the_family": row.family}))
            return StoredRefreshToken(
                token=RefreshToken(
                    token_hash=row.token_hash, family=row.family, issued_at=row.issued_at, expires_at=row.expires_at
                ),
                family=_family(family),
                is_spent=row.spent_at is not None,
                is_ended=family.ended_at is not None,
            )

        return await self._database.read_shortly(work)

    async def family(self, family: str) -> RefreshFamily | None:
        """A family that is known here, ended or not.

        Raises: StorageUnavailable
        """
        rows = await self._database.rows(select(refresh_family).where(_FAMILY.id == family))
        return _family(rows[0]) if rows else None

    async def in_force(self, *, now: int, subject: str | None = None) -> Sequence[RefreshFamily]:
        """Every family that is not over, or those of one person; the newest first.

        Raises: StorageUnavailable
        """
        whose = () if subject is None else (_FAMILY.subject == subject,)
        standing = (_FAMILY.ended_at.is_(None), _FAMILY.expires_at > now)
        order = (_FAMILY.began_at.desc(), _FAMILY.id)
        return [
            _family(row)
            for row in await self._database.rows(select(refresh_family).where(*whose, *standing).order_by(*order))
        ]


async def begin_family(connection: AsyncConnection, first: FirstOfFamily, *, code_hash: str) -> bool:
    """Begin a family in the transaction that is open; False if a revocation covers it already.

    INVARIANT: a revocation and the end of the families that it covers are one transaction. So a family that begins
    before it is ended by it, and one that would begin after it finds it here.

    Raises: SQLAlchemyError
    """
    family = first.family
    if (await connection.execute(select(_is_revoked(family)))).scalar_one():
        return False
    values = {
        "id": family.id,
        "code_hash": code_hash,
        "client_id": family.client_id,
        "subject": family.subject,
        "resource": family.resource,
        "scope": join_scopes(family.scopes),
        "terms": family.terms,
        "tenant": family.tenant,
        "task": family.task,
        "began_at": family.began_at,
        "expires_at": family.expires_at,
        "sender": family.sender,
        "auth_time": family.authentication.time,
        "acr": family.authentication.acr,
    }
    await connection.execute(insert(refresh_family).values(**values))
    await _add_token(connection, first.token)
    return True


def spend(connection: sqlite3.Connection, token_hash: str, following: RefreshToken) -> bool:
    """Spend a token and put the next one in its place, in the short transaction that is open.

    Of many that try at the same time one spends it. False if it is spent or has expired, or its family is over.

    Raises: sqlite3.Error
    """
    spent = {"spent_hash": token_hash, "of_family": following.family, "at": following.issued_at}
    if connection.execute(_SPEND, spent).fetchone() is None:
        return False
    connection.execute(_ADD_TOKEN_SQL, asdict(following))
    return True


_FIND = as_sql(select(refresh_token).where(_TOKEN.token_hash == bindparam("the_hash")))
_FIND_FAMILY = as_sql(select(refresh_family).where(_FAMILY.id == bindparam("the_family")))
_SPEND = as_sql(
    update(refresh_token)
    .where(
        _TOKEN.token_hash == bindparam("spent_hash"),
        _TOKEN.family == bindparam("of_family"),
        _TOKEN.spent_at.is_(None),
        _TOKEN.expires_at > bindparam("at"),
        exists().where(
            _FAMILY.id == bindparam("of_family"), _FAMILY.ended_at.is_(None), _FAMILY.expires_at > bindparam("at")
        ),
    )
    .values(spent_at=bindparam("at"))
    .returning(_TOKEN.token_hash)
)
_ADD_TOKEN = insert(refresh_token).values(
    {name: bindparam(name) for name in ("token_hash", "family", "issued_at", "expires_at")}
)
_ADD_TOKEN_SQL = as_sql(_ADD_TOKEN)


async def end_families(connection: AsyncConnection, names: Sequence[tuple[str, str]], *, now: int) -> Sequence[str]:
    """End every family that one of these names (kind, value) covers, in the transaction that is open.

    Returns the ids of those that were in force.

    Raises: SQLAlchemyError
    """
    ending = update(refresh_family).where(_are_covered(names), _FAMILY.ended_at.is_(None)).values(ended_at=now)
    ended = await connection.execute(ending.returning(_FAMILY.id, _FAMILY.expires_at))
    return sorted(row.id for row in ended if row.expires_at > now)


async def covered_families(database: Database, names: Sequence[tuple[str, str]], *, now: int) -> Sequence[str]:
    """Ids of the families that `end_families` would say it ended.

    Raises: StorageUnavailable
    """
    in_force = (_FAMILY.ended_at.is_(None), _FAMILY.expires_at > now)
    rows = await database.rows(select(_FAMILY.id).where(_are_covered(names), *in_force).order_by(_FAMILY.id))
    return [row.id for row in rows]


def family_of_code(connection: sqlite3.Connection, code_hash: str) -> str | None:
    """The family that began with this code, in the short transaction that is open.

    Raises: sqlite3.Error
    """
    found = connection.execute(_OF_CODE, {"the_code": code_hash}).fetchone()
    return None if found is None else str(found[0])


_OF_CODE = as_sql(select(_FAMILY.id).where(_FAMILY.code_hash == bindparam("the_code")))


_COLUMNS: dict[str, Callable[[str], ColumnElement[bool]]] = {
    "family": lambda value: _FAMILY.id == value,
    "sub": lambda value: _FAMILY.subject == value,
    "agent": lambda value: _FAMILY.client_id == value,
    "aud": lambda value: _FAMILY.resource == value,
    "tenant": lambda value: _FAMILY.tenant == value,
    "task": lambda value: _FAMILY.task == value,
}


def _are_covered(names: Sequence[tuple[str, str]]) -> ColumnElement[bool]:
    return or_(false(), *(_COLUMNS[kind](value) for kind, value in names if kind in _COLUMNS))


def _is_revoked(family: RefreshFamily) -> ColumnElement[bool]:
    names = (
        (RevocationKind.SUBJECT, family.subject),
        (RevocationKind.AGENT, family.client_id),
        (RevocationKind.RESOURCE, family.resource),
        (RevocationKind.TENANT, family.tenant),
        (RevocationKind.TASK, family.task),
    )
    covering = (
        and_(revocation.c.kind == kind.value, revocation.c.digest == revocation_digest(value))
        for kind, value in names
        if value is not None
    )
    return exists().where(or_(*covering), revocation.c.not_before >= family.began_at)


async def _add_token(connection: AsyncConnection, token: RefreshToken) -> None:
    await connection.execute(_ADD_TOKEN, asdict(token))


def _family(row: Any) -> RefreshFamily:
    return RefreshFamily(
        id=row.id,
        client_id=row.client_id,
        subject=row.subject,
        resource=row.resource,
        scopes=split_scopes(row.scope),
        terms=row.terms,
        began_at=row.began_at,
        expires_at=row.expires_at,
        tenant=row.tenant,
        task=row.task,
        sender=row.sender,
        authentication=Authentication(row.auth_time, row.acr),
    )
