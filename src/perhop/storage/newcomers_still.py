"""Newcomers as a command that only reads finds them: without SQLAlchemy, and without waiting for anybody."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from perhop.core.newcomer import Adoption, Registration, StoredDocument
from perhop.errors import StorageUnavailable


def read_newcomers(path: Path) -> tuple[list[StoredDocument], list[Registration]]:
    """Every document and every registration that is kept. Where there is no database, nobody is known.

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
        [document_of(SimpleNamespace(**dict(row))) for row in documents],
        [registration_of(SimpleNamespace(**dict(row))) for row in registrations],
    )


def document_of(row: Any) -> StoredDocument:
    """A row of `client_document`."""
    return StoredDocument(
        client_id=row.client_id,
        document=row.document,
        key_set=row.key_set,
        sha256=row.sha256,
        fetched_at=row.fetched_at,
        fresh_until=row.fresh_until,
        used_at=row.used_at,
    )


def registration_of(row: Any) -> Registration:
    """A row of `client_registration`."""
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
