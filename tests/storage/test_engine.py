"""The database itself: who makes it, what opening refuses, and what its faults are called."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.errors import OperatorError, StorageUnavailable
from perhop.storage import migrate as migrate_module
from perhop.storage.engine import open_database
from perhop.storage.migrate import migrate
from perhop.storage.schema import metadata
from perhop.storage.schema_revision import REVISIONS, check_migrated
from tests.storage.conftest import NOW, Opened
from tests.support.token_records import a_token_record


def test_the_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    """A migrated database and the tables in the code say the same."""
    path = tmp_path / "perhop.db"
    assert migrate(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_migrated_database_is_left_alone(tmp_path: Path) -> None:
    """Migrating twice does nothing the second time."""
    path = tmp_path / "perhop.db"
    assert migrate(path)
    assert not migrate(path)
    check_migrated(path)


def test_the_database_is_for_its_owner(tmp_path: Path) -> None:
    """A new database has mode 0600 whatever the umask is."""
    before = os.umask(0)
    try:
        migrate(tmp_path / "perhop.db")
    finally:
        os.umask(before)
    assert (tmp_path / "perhop.db").stat().st_mode & 0o777 == 0o600


def test_opening_makes_no_database(tmp_path: Path) -> None:
    """A missing database is an error with advice, and stays missing."""
    with pytest.raises(OperatorError, match="there is no database") as caught:
        open_database(tmp_path / "perhop.db")
    assert "perhop init" in caught.value.advice()
    assert not (tmp_path / "perhop.db").exists()


def test_an_empty_file_is_no_database(tmp_path: Path) -> None:
    """A file without the schema is not served; `init` completes it."""
    path = tmp_path / "perhop.db"
    path.touch(0o600)
    with pytest.raises(OperatorError, match="is empty"):
        open_database(path)
    assert migrate(path)
    check_migrated(path)


def test_a_newer_database_is_not_touched(tmp_path: Path) -> None:
    """A schema of a later version is neither served nor migrated."""
    path = tmp_path / "perhop.db"
    migrate(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for refused in (open_database, migrate):
        with pytest.raises(OperatorError, match="newer Perhop"):
            refused(path)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """Another kind of file is refused, not overwritten."""
    path = tmp_path / "perhop.db"
    path.write_bytes(b"a text, and a long one\n" * 100)
    for refused in (open_database, migrate):
        with pytest.raises(OperatorError, match="cannot be read"):
            refused(path)
    assert path.read_bytes().startswith(b"a text")


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    """A folder whose name means something in a URL is a folder like any other."""
    folder = tmp_path / "50% of #1?"
    folder.mkdir()
    migrate(folder / "perhop.db")
    open_database(folder / "perhop.db")
    assert {each.name.partition("-")[0] for each in folder.iterdir()} == {"perhop.db"}


def test_a_new_schema_lifts_no_standing(tmp_path: Path) -> None:
    """What an older Perhop had disabled is disabled still, and issuers may be."""
    path = tmp_path / "perhop.db"
    engine = create_engine(f"sqlite:///{path}")
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(migrate_module.__file__).parent / "migrations"))
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0006")
        connection.execute(text("INSERT INTO standing VALUES ('client', 'a', 1, 1, 'left', 5)"))
    engine.dispose()
    assert migrate(path)
    with sqlite3.connect(path) as opened:
        opened.execute("INSERT INTO standing VALUES ('issuer', 'b', 1, 1, '', 6)")
        rows = opened.execute("SELECT kind, name, disabled, why FROM standing").fetchall()
    opened.close()
    assert rows == [("client", "a", 1, "left"), ("issuer", "b", 1, "")]


def test_there_is_one_newest_schema() -> None:
    """The migrations are one line with one end."""
    assert REVISIONS[-1] == "0012"


async def test_every_transaction_reaches_the_disk(opened: Opened) -> None:
    """The connection that stores write through syncs at every commit and keeps foreign keys."""
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
        assert [tuple(row) for row in await opened.database.rows(text(f"PRAGMA {pragma}"))] == [(value,)]


async def test_what_one_process_wrote_the_other_reads(opened: Opened) -> None:
    """A committed row is there for every later reader."""
    await opened.stores.token_records.add(a_token_record("first"))
    assert len(await opened.other.lineage.live("jti", "first", now=NOW)) == 1


async def test_a_fault_of_the_database_is_one_fact(opened: Opened) -> None:
    """A table that is gone is StorageUnavailable, whose detail holds no value that was bound."""
    await opened.database.apply(text("DROP TABLE token_record"))
    with pytest.raises(StorageUnavailable) as caught:
        await opened.stores.token_records.add(a_token_record("bound-value"))
    assert "token_record" in caught.value.detail
    assert "bound-value" not in caught.value.detail


async def test_a_locked_database_does_not_answer_forever(opened: Opened) -> None:
    """While another process holds the write lock, readers read, and a writer is told after its patience."""
    holder = sqlite3.connect(opened.database.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    await opened.database.rows(text("PRAGMA busy_timeout = 50"))
    assert await opened.stores.lineage.live("jti", "first", now=NOW) == []
    with pytest.raises(StorageUnavailable, match="locked"):
        await opened.stores.token_records.add(a_token_record("first"))
    holder.execute("ROLLBACK")
    holder.close()
    await opened.stores.token_records.add(a_token_record("first"))


async def test_a_cancelled_write_leaves_the_database_usable(opened: Opened) -> None:
    """Callers that go away in the middle of a transaction do not keep it open."""
    writes = [asyncio.create_task(opened.stores.token_records.add(a_token_record(f"jti-{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    await opened.stores.token_records.add(a_token_record("after"))
    found = {each.jti for each in await opened.stores.lineage.live("sub", "trip-planner", now=NOW)}
    assert found >= {"after", *(f"jti-{n}" for n in range(1, 20, 2))}


async def test_a_failed_transaction_leaves_nothing(opened: Opened) -> None:
    """What a transaction wrote before it failed is not there afterwards."""

    async def fail(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO key_state VALUES ('k1', 'active', 1)"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await opened.database.write(fail)
    assert await opened.stores.key_states.all() == {}


def test_a_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    """A migration that cannot be finished is taken back whole."""
    path = tmp_path / "perhop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE key_state (stranger TEXT)")
    with pytest.raises(OperatorError, match="key_state already exists"):
        migrate(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("key_state",)]
    connection.close()


async def test_closing_waits_for_what_was_begun(opened: Opened) -> None:
    """A write whose caller went away is on disk when the database is closed."""
    write = asyncio.create_task(opened.stores.token_records.add(a_token_record("last")))
    await asyncio.sleep(0)
    write.cancel()
    await asyncio.gather(write, return_exceptions=True)
    await opened.database.close()
    assert len(await opened.other.lineage.live("jti", "last", now=NOW)) == 1


def test_the_listed_revisions_are_those_of_the_migrations() -> None:
    """The list that commands read without alembic names every migration, oldest first."""
    configuration = Config()
    configuration.set_main_option("script_location", "perhop.storage:migrations")
    scripts = ScriptDirectory.from_config(configuration).walk_revisions()
    assert [script.revision for script in scripts][::-1] == list(REVISIONS)
