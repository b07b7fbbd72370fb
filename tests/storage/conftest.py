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
from tests.support.archives import archive_some, write_calls
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


@pytest.fixture(scope="session")
def archived_original(tmp_path_factory: pytest.TempPathFactory) -> JournalFolder:
    """Two segments, the first of records 1 to 150, and a live file with more."""
    made = make_journal(tmp_path_factory.mktemp("original"))
    write_calls(made, 150, first=1)
    archive_some(made, made.folder / "archive", upto=150)
    write_calls(made, 160, first=200)
    archive_some(made, made.folder / "archive", upto=311)
    write_calls(made, 90, first=400)
    return made


@pytest.fixture
def archived_copy(archived_original: JournalFolder, tmp_path: Path) -> JournalFolder:
    """A copy of everything, for a test to spoil."""
    shutil.copytree(archived_original.folder, tmp_path / "copied")
    return JournalFolder(folder=tmp_path / "copied", key=archived_original.key)


@pytest.fixture
def uncut(tmp_path: Path) -> JournalFolder:
    """A journal of 400 records that nobody has cut yet."""
    (tmp_path / "uncut").mkdir()
    made = make_journal(tmp_path / "uncut")
    write_calls(made, 400, first=1)
    return made
