"""The clients that nobody wrote into the file, for commands that only read: little is loaded for it."""

from __future__ import annotations

from dataclasses import replace

from perhop.authorization_server.newcomers.known import known_clients
from perhop.settings import Settings
from perhop.storage.newcomers_still import read_newcomers


def with_newcomers(settings: Settings) -> Settings:
    """The same settings, whose registry also has the newcomers that the database keeps: for commands that only read.

    Raises: StorageUnavailable
    """
    documents, registrations = read_newcomers(settings.database_path)
    newcomers = known_clients(documents, registrations, settings.admission)
    registry = replace(
        settings.registry, clients={**settings.registry.clients, **newcomers, **settings.registry.clients}
    )
    return replace(settings, registry=registry)
