"""What owners have approved of their tools, read from the files.

A configuration that was never run here has none: a repository of policies has no database.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from perhop.gateway.catalogue import Catalogue
from perhop.gateway.tool_pins import Pinned, ResourcePins
from perhop.policy.declared import Schemas
from perhop.settings import Settings
from perhop.storage.engine import open_database
from perhop.storage.tool_pins import SqlToolPins
from perhop.wiring.policies import approved_schemas


async def known_schemas(settings: Settings) -> Schemas:
    """The schemas of the approved tools; none where there is no database.

    Raises: OperatorError, StorageUnavailable
    """
    if not settings.database_path.exists():
        return {}
    async with _tool_pins(settings) as pins:
        return await approved_schemas(pins)


async def known_tools(settings: Settings) -> Mapping[str, Catalogue] | None:
    """By resource what the gateway goes by, of those whose owners have approved any; None without a database.

    Raises: OperatorError, StorageUnavailable
    """
    if not settings.database_path.exists():
        return None
    async with _tool_pins(settings) as pins:
        return {name: _catalogue(name, pinned) for name, pinned in (await pins.all()).items()}


def _catalogue(resource: str, pinned: Pinned) -> Catalogue:
    pins = ResourcePins(resource, clock=time.time)
    pins.take(pinned)
    return Catalogue(pins)


@asynccontextmanager
async def _tool_pins(settings: Settings) -> AsyncIterator[SqlToolPins]:
    database = open_database(settings.database_path)
    try:
        yield SqlToolPins(database)
    finally:
        await database.close()
