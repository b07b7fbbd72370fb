"""Making the schema of `perhop.db`, and bringing it up to date: for `perhop init` alone; whoever opens it checks it.

A file per change lies in `migrations/versions`; alembic runs them in order.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from perhop.errors import OperatorError
from perhop.storage.schema_revision import REVISIONS, first_line, read_revision
from perhop.storage.sqlite import set_up


def migrate(path: Path) -> bool:
    """Create the database, mode 0600, or bring it to this version's schema; True if anything was done.

    Raises: OperatorError
    """
    revision = read_revision(path) if path.exists() else None
    if revision == REVISIONS[-1]:
        return False
    if revision is not None and revision not in REVISIONS:
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
        raise OperatorError(f"the database `{path}` cannot be made: {first_line(error)}") from error
    return True


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return configuration
