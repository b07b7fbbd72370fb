"""Newcomers: clients' documents that are gone by, and clients that registered themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.sqlite import insert

from perhop.core.newcomer import Adoption, Registration, StoredDocument
from perhop.storage.engine import Database
from perhop.storage.newcomers_still import document_of, registration_of
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
        return [document_of(row) for row in rows]

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
        return [registration_of(row) for row in rows]

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
