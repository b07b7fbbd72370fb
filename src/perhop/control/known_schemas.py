"""The schemas of the tools that owners have approved, read from the files."""

from __future__ import annotations

from perhop.policy.declared import Schemas
from perhop.settings import Settings
from perhop.storage.engine import open_database
from perhop.storage.tool_pins import SqlToolPins
from perhop.wiring.policies import approved_schemas


async def known_schemas(settings: Settings) -> Schemas:
    """None for a configuration that was never run here: a repository of policies has no database.

    Raises: OperatorError, StorageUnavailable
    """
    if not settings.database_path.exists():
        return {}
    database = open_database(settings.database_path)
    try:
        return await approved_schemas(SqlToolPins(database))
    finally:
        await database.close()
