"""One contract, each engine: what a store must do stands in the tests, which engine does it stands here."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from perhop.storage.engine import Database, open_database
from perhop.storage.migrate import migrate
from perhop.storage.stores import Stores, open_stores
from tests.support.journals import JournalFolder, make_journal

NOW = 1_790_000_000


@dataclass(frozen=True, slots=True)
class Opened:
    """One database, opened twice as two processes would, and the journal beside it."""

    database: Database
    stores: Stores
    other_database: Database
    other: Stores
    journal: JournalFolder


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of SQLite, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "perhop.db"
    migrate(path)
    return path


@pytest.fixture(params=["sqlite"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> AsyncIterator[Opened]:
    """A fresh database of each engine."""
    assert request.param == "sqlite"
    path = tmp_path / "perhop.db"
    shutil.copy(migrated, path)
    journal = make_journal(tmp_path)
    async with AsyncExitStack() as stack:
        queries = stack.enter_context(journal.queries())
        databases = [open_database(path), open_database(path)]
        for database in databases:
            stack.push_async_callback(database.close)
        first, second = (open_stores(database, queries) for database in databases)
        yield Opened(databases[0], first, databases[1], second, journal)


@pytest.fixture
def stores(opened: Opened) -> Stores:
    """Every store of a fresh database."""
    return opened.stores
