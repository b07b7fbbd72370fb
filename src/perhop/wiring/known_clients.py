"""The clients that are known: those of the configuration, and after them those that nobody wrote there."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perhop.authorization_server.client_auth.private_key_jwt import load_client_keys
from perhop.authorization_server.newcomers.directory import Newcomers
from perhop.core.registry import Registry
from perhop.settings import Settings
from perhop.tokens.keys import VerifyKey


class _OneBehindTheOther(ChainMap[str, Any]):
    """As its parent, and found in two steps instead of six: every call looks up its agent more than once."""

    def get(self, key: str, default: Any = None) -> Any:
        for each in self.maps:
            if key in each:
                return each[key]
        return default


def registry_with_newcomers(settings: Settings, newcomers: Newcomers) -> Registry:
    """The file's definitions; a client that it does not define is looked for among the newcomers of that moment.

    Its version is the file's.
    """
    return replace(settings.registry, clients=_OneBehindTheOther(dict(settings.registry.clients), newcomers.clients))


def keys_with_newcomers(settings: Settings, newcomers: Newcomers) -> Mapping[str, Mapping[str, VerifyKey]]:
    """The same of their keys. Raises: KeyUnusable."""
    keys: dict[str, Mapping[str, VerifyKey]] = dict(load_client_keys(settings.registry))
    return ChainMap(keys, newcomers.client_keys)
