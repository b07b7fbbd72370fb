"""Databases for tests: of this version's schema, made once and copied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from perhop.storage.engine import Database, open_database
from perhop.storage.migrate import migrate


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "perhop.db"
        migrate(path)
        return path.read_bytes()


@asynccontextmanager
async def a_database(folder: Path) -> AsyncIterator[Database]:
    """An empty database in this folder, open while the block runs."""
    path = folder / "perhop.db"
    path.write_bytes(_migrated())
    database = open_database(path)
    try:
        yield database
    finally:
        await database.close()
