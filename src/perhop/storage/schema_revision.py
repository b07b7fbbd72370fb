"""Which schema a `perhop.db` has, and whether it is this version's. Looked at by every command, so without alembic."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from perhop.errors import OperatorError
from perhop.storage.sqlite import BUSY_SECONDS

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012")
"""Every revision in `migrations/versions`, oldest first; the last one is this version's."""

_INIT = "run `perhop init` in its folder: it keeps what is there and makes what is missing"


def check_migrated(path: Path) -> None:
    """Accept only an existing database at this version's schema. Creates nothing.

    Raises: OperatorError
    """
    if not path.is_file():
        raise OperatorError(f"there is no database at `{path}`", advice=_INIT)
    revision = read_revision(path)
    if revision is None:
        raise OperatorError(f"the database `{path}` is empty", advice=_INIT)
    if revision != REVISIONS[-1]:
        if revision in REVISIONS:
            raise OperatorError(f"the database `{path}` has the schema of an older Perhop", advice=_INIT)
        raise OperatorError(f"`{path}` was written by a newer Perhop", advice="use that version, or restore a backup")


def read_revision(path: Path) -> str | None:
    """The revision of an existing database; None for one that has no schema yet.

    Raises: OperatorError
    """
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        try:
            table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if table else None
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OperatorError(f"the database `{path}` cannot be read: {first_line(error)}") from error
    return str(row[0]) if row else None


def first_line(error: Exception) -> str:
    """The driver's own words, without the values that a statement was bound to."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]
