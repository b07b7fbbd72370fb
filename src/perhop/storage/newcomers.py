"""Newcomers: clients' documents that are gone by, and clients that registered themselves."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.sqlite import insert

from perhop.core.newcomer import Adoption, Registration, StoredDocument
from perhop.errors import StorageUnavailable
from perhop.storage.engine import Database
from perhop.storage.schema import AS_ADDED, client_document, client_registration


class SqlNewcomers:
    """Newcomers in `perhop.db`. INVARIANT: of an adopted registration nothing is changed again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def documents(self) -> Sequence[StoredDocument]:
        """Every document that is kept.

        Raises: StorageUnavailable
        """
        rows = await self._database.rows(select(client_document).order_by(AS_ADDED))
        return [_document(row) for row in rows]

    async def put_document(self, stored: StoredDocument) -> None:
        """Keep this one, in the place of what was kept of the client before.

        Raises: StorageUnavailable
        """
        said = {
            "document": stored.document,
            "key_set": stored.key_set,
            "sha256": stored.sha256,
            "fetched_at": stored.fetched_at,
            "fresh_until": stored.fresh_until,
            "used_at": stored.used_at if stored.used_at is not None else stored.fetched_at,
        }
        statement = insert(client_document).values(client_id=stored.client_id, **said)
        await self._database.apply(
            statement.on_conflict_do_update(index_elements=(client_document.c.client_id,), set_=said)
        )

    async def drop_document(self, client_id: str) -> None:
        """Raises: StorageUnavailable."""
        await self._database.apply(delete(client_document).where(client_document.c.client_id == client_id))

    async def registrations(self) -> Sequence[Registration]:
        """All of them, the oldest first.

        Raises: StorageUnavailable
        """
        rows = await self._database.rows(select(client_registration).order_by(AS_ADDED))
        return [_registration(row) for row in rows]

    async def add_registration(self, registration: Registration) -> None:
        """Keep a client that waits.

        Raises: StorageUnavailable
        """
        await self._database.apply(
            insert(client_registration).values(
                client_id=registration.client_id,
                metadata=registration.metadata,
                secret_sha256=registration.secret_sha256,
                network=registration.network,
                registered_at=registration.registered_at,
                lapses_at=registration.lapses_at,
            )
        )

    async def adopt(self, client_id: str, adoption: Adoption) -> None:
        """Note who adopted a client that waits.

        Raises: StorageUnavailable
        """
        waiting = (client_registration.c.client_id == client_id, client_registration.c.owner.is_(None))
        await self._database.apply(
            update(client_registration)
            .where(*waiting)
            .values(
                owner=adoption.owner,
                purpose=adoption.purpose,
                expires=adoption.expires.isoformat(),
                reaches=json.dumps({name: list(scopes) for name, scopes in adoption.reaches.items()}),
                adopted_by=adoption.by,
                adopted_at=adoption.at,
            )
        )

    async def drop_registration(self, client_id: str) -> None:
        """Raises: StorageUnavailable."""
        await self._database.apply(delete(client_registration).where(client_registration.c.client_id == client_id))


def read_newcomers(path: Path) -> tuple[list[StoredDocument], list[Registration]]:
    """The same for a command that only reads: without waiting for a turn. Where there is no database, nobody is known.

    Raises: StorageUnavailable
    """
    if not path.exists():
        return [], []
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            documents = connection.execute("SELECT * FROM client_document ORDER BY rowid").fetchall()
            registrations = connection.execute("SELECT * FROM client_registration ORDER BY rowid").fetchall()
    except sqlite3.Error as error:
        raise StorageUnavailable(f"`{path}` cannot be read: {error}") from error
    return (
        [_document(SimpleNamespace(**dict(row))) for row in documents],
        [_registration(SimpleNamespace(**dict(row))) for row in registrations],
    )


def _document(row: Any) -> StoredDocument:
    return StoredDocument(
        client_id=row.client_id,
        document=row.document,
        key_set=row.key_set,
        sha256=row.sha256,
        fetched_at=row.fetched_at,
        fresh_until=row.fresh_until,
        used_at=row.used_at,
    )


def _registration(row: Any) -> Registration:
    return Registration(
        client_id=row.client_id,
        metadata=row.metadata,
        secret_sha256=row.secret_sha256,
        network=row.network,
        registered_at=row.registered_at,
        lapses_at=row.lapses_at,
        adoption=None
        if row.owner is None
        else Adoption(
            owner=row.owner,
            purpose=row.purpose,
            expires=date.fromisoformat(row.expires),
            reaches={name: tuple(scopes) for name, scopes in json.loads(row.reaches).items()},
            by=row.adopted_by,
            at=row.adopted_at,
        ),
    )
