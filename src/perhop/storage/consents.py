"""Consents: what a person allowed a client at a resource."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, literal, select
from sqlalchemy.dialects.sqlite import insert

from perhop.authorization_server.store import Consent
from perhop.storage.engine import Database
from perhop.storage.schema import consent
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
        if not rows:
            return None
        row = rows[0]
        return Consent(
            subject=row.subject,
            client_id=row.client_id,
            resource=row.resource,
            scopes=split_scopes(row.scope),
            terms=row.terms,
            granted_at=row.granted_at,
        )

    async def remove(self, subject: str, client_id: str, resource: str) -> bool:
        """True if there was one.

        Raises: StorageUnavailable
        """
        statement = delete(consent).where(*_key(subject, client_id, resource)).returning(literal(1))
        return bool(await self._database.apply(statement))


def _key(subject: str, client_id: str, resource: str) -> tuple[ColumnElement[bool], ...]:
    return (consent.c.subject == subject, consent.c.client_id == client_id, consent.c.resource == resource)
