"""The keys of the issuers whose assertions we take: held by the configuration, or fetched and kept while good.

A key counts for its own issuer only, and comes from where the configuration says; never from where an assertion points.

Spec: RFC 8725 §3.8
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, assert_never

from perhop.client.connections import Connections
from perhop.core.assertion import AssertionIssuer, KeysAt, KeysByDiscovery, KeysHeld
from perhop.resource_server.trusted_issuer import TrustedIssuer
from perhop.tokens.keys import VerifyKey, keys_by_id, parse_jwk


class KeysOfIssuer(Protocol):
    """The keys of one issuer, by `kid`."""

    async def keys(self) -> Mapping[str, VerifyKey]:
        """Raises: KeysUnavailable."""
        ...

    async def newer_keys(self) -> Mapping[str, VerifyKey]:
        """The keys, looked for anew if it is time, after an unknown one was named. Raises: KeysUnavailable."""
        ...

    async def aclose(self) -> None: ...


class HeldKeys:
    """Keys that stand in the configuration: there are no newer ones."""

    def __init__(self, keys: Mapping[str, VerifyKey]) -> None:
        self._keys = keys

    async def keys(self) -> Mapping[str, VerifyKey]:
        return self._keys

    async def newer_keys(self) -> Mapping[str, VerifyKey]:
        return self._keys

    async def aclose(self) -> None: ...


class AssertionKeys:
    """Where each issuer's keys come from, for as long as its definition stays the same."""

    def __init__(self, *, connections: Connections, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock
        self._sources: dict[str, tuple[AssertionIssuer, KeysOfIssuer]] = {}

    def of(self, issuer: AssertionIssuer) -> KeysOfIssuer:
        """The keys of this issuer. One that is defined anew under a name begins without keys."""
        known = self._sources.get(issuer.name)
        if known is not None and (known[0].issuer, known[0].keys) == (issuer.issuer, issuer.keys):
            return known[1]
        source = self._source(issuer)
        self._sources[issuer.name] = issuer, source
        return source

    async def aclose(self) -> None:
        """End what is being fetched."""
        for _, source in self._sources.values():
            await source.aclose()
        await self._connections.aclose()

    def _source(self, issuer: AssertionIssuer) -> KeysOfIssuer:
        match issuer.keys:
            case KeysHeld(keys=members):
                return HeldKeys(keys_by_id(parse_jwk(each) for each in members))
            case KeysAt(uri=uri):
                return TrustedIssuer(issuer.issuer, connections=self._connections, clock=self._clock, jwks_uri=uri)
            case KeysByDiscovery():
                return TrustedIssuer(issuer.issuer, connections=self._connections, clock=self._clock)
            case _:
                assert_never(issuer.keys)
