"""Making and checking the schema of `perhop.db`: only `perhop init` makes it, whoever opens it checks it.

A file per change lies in `migrations/versions`; alembic runs them in order.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from perhop.errors import OperatorError
from perhop.storage.sqlite import BUSY_SECONDS, set_up

_INIT = "run `perhop init` in its folder: it keeps what is there and makes what is missing"


def head_revision() -> str:
    """The revision that this version of Perhop works with."""
    head = ScriptDirectory.from_config(_configuration()).get_current_head()
    assert head is not None
    return head


def migrate(path: Path) -> bool:
    """Create the database, mode 0600, or bring it to this version's schema; True if anything was done.

    Raises: OperatorError
    """
    revision = _revision(path) if path.exists() else None
    if revision == head_revision():
        return False
    if revision is not None and revision not in _known_revisions():
        raise OperatorError(f"`{path}` was written by a newer Perhop", advice="use that version, or restore a backup")
    try:
        # Never opened but by SQLite once it exists: closing it here would drop the locks that SQLite holds on it.
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
        set_up(engine)
        with engine.begin() as connection:
            configuration = _configuration()
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise OperatorError(f"the database `{path}` cannot be made: {_first_line(error)}") from error
    return True


def check_migrated(path: Path) -> None:
    """Accept only an existing database at this version's schema. Creates nothing.

    Raises: OperatorError
    """
    if not path.is_file():
        raise OperatorError(f"there is no database at `{path}`", advice=_INIT)
    revision = _revision(path)
    if revision is None:
        raise OperatorError(f"the database `{path}` is empty", advice=_INIT)
    if revision != head_revision():
        if revision in _known_revisions():
            raise OperatorError(f"the database `{path}` has the schema of an older Perhop", advice=_INIT)
        raise OperatorError(f"`{path}` was written by a newer Perhop", advice="use that version, or restore a backup")


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return configuration


def _known_revisions() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_configuration()).walk_revisions())


def _revision(path: Path) -> str | None:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        try:
            table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if table else None
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OperatorError(f"the database `{path}` cannot be read: {_first_line(error)}") from error
    return str(row[0]) if row else None


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).partition("\n")[0]
