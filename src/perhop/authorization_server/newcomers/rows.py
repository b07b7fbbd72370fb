"""Newcomers in the database, as this room asks for them. Each verb raises StorageUnavailable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perhop.core.newcomer import Adoption, Registration, StoredDocument


class DocumentRows(Protocol):
    """Documents by which a token was issued."""

    async def documents(self) -> Sequence[StoredDocument]: ...

    async def put_document(self, stored: StoredDocument) -> None:
        """Keep this one, in the place of what was kept of the client before."""
        ...

    async def drop_document(self, client_id: str) -> None: ...


class RegistrationRows(Protocol):
    """Clients that registered themselves."""

    async def registrations(self) -> Sequence[Registration]:
        """All of them, the oldest first."""
        ...

    async def add_registration(self, registration: Registration) -> None: ...

    async def adopt(self, client_id: str, adoption: Adoption) -> None:
        """Of one that waits."""
        ...

    async def drop_registration(self, client_id: str) -> None: ...


class NewcomerRows(DocumentRows, RegistrationRows, Protocol):
    """Both."""
