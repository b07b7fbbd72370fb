"""Consents: what a person allowed a client at a resource."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Exists, Row, bindparam, delete, exists, literal, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.authorization_server.people_store import Consent, TakenBack
from perhop.authorization_server.store import TokenRecord
from perhop.storage.engine import Database
from perhop.storage.schema import authorization_code, consent, refresh_family
from perhop.storage.short_writes import as_sql
from perhop.storage.scope_text import join_scopes, split_scopes


class SqlConsents:
    """Consents in `perhop.db`: one for a person, client and resource."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, put: Consent) -> None:
        """Store, in place of an earlier one.

        Raises: StorageUnavailable
        """
        said = {"scope": join_scopes(put.scopes), "terms": put.terms, "granted_at": put.granted_at}
        statement = insert(consent).values(subject=put.subject, client_id=put.client_id, resource=put.resource, **said)
        keys = (consent.c.subject, consent.c.client_id, consent.c.resource)
        await self._database.apply(statement.on_conflict_do_update(index_elements=keys, set_=said))

    async def get(self, subject: str, client_id: str, resource: str) -> Consent | None:
        """The stored consent; does not look at its terms.

        Raises: StorageUnavailable
        """
        rows = await self._database.rows(select(consent).where(*_key(subject, client_id, resource)))
        return _consent(rows[0]) if rows else None

    async def all(self, subject: str | None = None) -> Sequence[Consent]:
        """Every consent, or those of one person; the newest first.

        Raises: StorageUnavailable
        """
        whose = () if subject is None else (consent.c.subject == subject,)
        order = (consent.c.granted_at.desc(), consent.c.subject, consent.c.client_id, consent.c.resource)
        return [_consent(row) for row in await self._database.rows(select(consent).where(*whose).order_by(*order))]

    async def take_back(self, subject: str, client_id: str, resource: str, *, now: int) -> TakenBack:
        """Remove the consent and every code of the same, in one transaction, and say what stood.

        Raises: StorageUnavailable
        """
        codes, families = authorization_code.c, refresh_family.c
        removed = delete(consent).where(*_key(subject, client_id, resource)).returning(literal(1))
        forgotten = delete(authorization_code).where(
            codes.subject == subject, codes.client_id == client_id, codes.resource == resource
        )
        standing = select(families.id).where(
            families.subject == subject,
            families.client_id == client_id,
            families.resource == resource,
            families.ended_at.is_(None),
            families.expires_at > now,
        )

        async def work(connection: AsyncConnection) -> TakenBack:
            had_consent = (await connection.execute(removed)).one_or_none() is not None
            await connection.execute(forgotten)
            found = (await connection.execute(standing.order_by(families.id))).scalars()
            return TakenBack(had_consent=had_consent, families=tuple(found))

        return await self._database.write(work)


async def note_use(connection: AsyncConnection, record: TokenRecord) -> None:
    """Keep when a consent was last used, in the transaction in which its token is recorded.

    Raises: SQLAlchemyError
    """
    await connection.execute(_NOTE_USE, _used(record))


def note_use_shortly(connection: sqlite3.Connection, record: TokenRecord) -> None:
    """The same in a short transaction.

    Raises: sqlite3.Error
    """
    connection.execute(_NOTE_USE_SQL, _used(record))


def _used(record: TokenRecord) -> dict[str, str | int]:
    return {
        "of_subject": record.subject,
        "of_client": record.client_id,
        "at_resource": record.audience,
        "at": record.issued_at,
    }


def is_given(subject: ColumnElement[str], client_id: ColumnElement[str], resource: ColumnElement[str]) -> Exists:
    """True in a statement if the person of this row has such a consent."""
    return exists().where(
        consent.c.subject == subject, consent.c.client_id == client_id, consent.c.resource == resource
    )


def _key(subject: str, client_id: str, resource: str) -> tuple[ColumnElement[bool], ...]:
    return (consent.c.subject == subject, consent.c.client_id == client_id, consent.c.resource == resource)


_NOTE_USE = (
    update(consent)
    .where(
        consent.c.subject == bindparam("of_subject"),
        consent.c.client_id == bindparam("of_client"),
        consent.c.resource == bindparam("at_resource"),
    )
    .values(used_at=bindparam("at"))
)
_NOTE_USE_SQL = as_sql(_NOTE_USE)


def _consent(row: Row[Any]) -> Consent:
    return Consent(
        subject=row.subject,
        client_id=row.client_id,
        resource=row.resource,
        scopes=split_scopes(row.scope),
        terms=row.terms,
        granted_at=row.granted_at,
        used_at=row.used_at,
    )
