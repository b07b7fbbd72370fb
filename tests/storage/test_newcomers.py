"""Newcomers in the database: a document for each client, and a registration that is adopted once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from perhop.core.newcomer import Adoption, Registration, RegistrationState, StoredDocument
from perhop.errors import StorageUnavailable
from perhop.storage.newcomers_still import read_newcomers
from perhop.storage.stores import Stores
from tests.storage.conftest import NOW, Opened

DOCUMENT = StoredDocument(
    client_id="https://apps.example.com/client.json",
    document='{"client_name": "größer"}',
    key_set=None,
    sha256="ab",
    fetched_at=NOW,
    fresh_until=NOW + 300,
    used_at=NOW,
)
REGISTRATION = Registration(
    client_id="registered-1",
    metadata="{}",
    secret_sha256="cd",
    network="10.0.0.0/24",
    registered_at=NOW,
    lapses_at=NOW + 10,
)
ADOPTION = Adoption(
    owner="travel-team",
    purpose="plans journeys",
    expires=date(2030, 1, 31),
    reaches={"calendar": ("calendar:read", "calendar:write")},
    by="operator:ann",
    at=NOW + 1,
)


async def test_a_document_comes_back_as_it_was_and_is_replaced(stores: Stores) -> None:
    """Of each client the newest document is kept, with its keys, until it is dropped."""
    rows = stores.newcomer_rows
    await rows.put_document(DOCUMENT)
    assert await rows.documents() == [DOCUMENT]
    other = replace(DOCUMENT, key_set='{"keys": []}', sha256="ef", used_at=NOW + 5)
    await rows.put_document(other)
    assert await rows.documents() == [other]
    await rows.drop_document(DOCUMENT.client_id)
    assert await rows.documents() == []


async def test_a_registration_is_adopted_once(stores: Stores) -> None:
    """What an owner decided comes back as it was, and no second adoption changes it."""
    rows = stores.newcomer_rows
    await rows.add_registration(REGISTRATION)
    (waiting,) = await rows.registrations()
    assert (waiting, waiting.state) == (REGISTRATION, RegistrationState.WAITING)
    await rows.adopt(REGISTRATION.client_id, ADOPTION)
    await rows.adopt(REGISTRATION.client_id, replace(ADOPTION, owner="mallory"))
    (adopted,) = await rows.registrations()
    assert (adopted.adoption, adopted.state) == (ADOPTION, RegistrationState.ADOPTED)
    await rows.drop_registration(REGISTRATION.client_id)
    assert await rows.registrations() == []


async def test_a_command_that_reads_sees_the_same(opened: Opened) -> None:
    """Read without a turn, the rows are what the store says that they are."""
    rows = opened.stores.newcomer_rows
    await rows.put_document(DOCUMENT)
    await rows.add_registration(REGISTRATION)
    await rows.adopt(REGISTRATION.client_id, ADOPTION)
    assert read_newcomers(opened.database.path) == ([DOCUMENT], [replace(REGISTRATION, adoption=ADOPTION)])


def test_without_a_database_nobody_is_known(tmp_path: Path) -> None:
    """Where there is no database there are no newcomers; a file that is none is an error."""
    assert read_newcomers(tmp_path / "perhop.db") == ([], [])
    (tmp_path / "odd.db").write_bytes(b"no database" * 100)
    with pytest.raises(StorageUnavailable):
        read_newcomers(tmp_path / "odd.db")
