"""An authorization server that we trust: its metadata and its keys, fetched when needed and kept while good.

Keys come from where the issuer's own metadata says, or whoever trusts it, never from where a token points.

Spec: RFC 8414 §3
Spec: RFC 8725 §3.8
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from perhop.client.connections import Connections
from perhop.client.discovery import IssuerMetadata, discover
from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.client.single_flight import SingleFlight
from perhop.errors import IssuerUnavailable, KeysUnavailable
from perhop.tokens.jwks import parse_jwks
from perhop.tokens.keys import VerifyKey

JWKS_SECONDS = 5.0
METADATA_LIFETIME = 3600.0
DEFAULT_MAX_AGE = 300
MIN_MAX_AGE = 60
MAX_MAX_AGE = 600
MAX_STALENESS = 3600.0
"""Keys older than this are not used, however long the issuer does not answer."""
UNKNOWN_KEY_COOLDOWN = 30.0
"""A flood of tokens with invented key names costs one fetch in this time."""
RETRY_PAUSE = 2.0
"""Between two fetches where the last one failed, and where the issuer itself has named a key that we do not know."""

_FRESH_PART = 0.8
"""Of their `max-age`: after it, newer keys are fetched while these are used."""
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})", re.ASCII | re.IGNORECASE)
_log = logging.getLogger("perhop.resource_server")


@dataclass(frozen=True, slots=True)
class _KeySet:
    keys: Mapping[str, VerifyKey]
    fetched_at: float
    max_age: float


class TrustedIssuer:
    """Keys of one issuer. A fetch that fails keeps the old keys; their age has an end.

    With `jwks_uri` they are there, and no metadata is asked.
    """

    def __init__(
        self, issuer: str, *, connections: Connections, clock: Callable[[], float], jwks_uri: str | None = None
    ) -> None:
        self.issuer = issuer
        self._jwks_uri = jwks_uri
        self._connections = connections
        self._clock = clock
        self._held: _KeySet | None = None
        self._failure: str | None = None
        self._retry_at = 0.0
        self._look_again_at = 0.0
        self._ask_again_at = 0.0
        self._metadata: tuple[IssuerMetadata, float] | None = None
        self._discovering = SingleFlight(self._discover)
        self._fetching = SingleFlight(self._fetch)

    def keys_at_hand(self, now: int) -> Mapping[str, VerifyKey] | None:
        """Keys by `kid` where `keys` would give these at once, and would fetch nothing; else None.

        `now` is the second of the clock that is going on.
        """
        held = self._held
        return held.keys if held is not None and -1 <= now - held.fetched_at < _FRESH_PART * held.max_age - 1 else None

    async def keys(self) -> Mapping[str, VerifyKey]:
        """Keys by `kid`, not older than their `max-age` unless the issuer does not answer.

        Raises: KeysUnavailable
        """
        now = self._clock()
        age = now - self._held.fetched_at if self._held is not None else None
        if now >= self._retry_at:
            if self._held is None or age is None or age >= self._held.max_age:
                await self._fetching.join()
            elif age >= _FRESH_PART * self._held.max_age:
                self._fetching.launch()
        if self._held is None or now - self._held.fetched_at >= MAX_STALENESS:
            raise KeysUnavailable(f"keys of `{self.issuer}`: {self._failure}")
        return self._held.keys

    async def newer_keys(self) -> Mapping[str, VerifyKey]:
        """Keys fetched after a token named an unknown one: at most one look in a cooldown.

        Raises: KeysUnavailable
        """
        now = self._clock()
        is_time = now >= self._look_again_at
        if is_time:
            self._look_again_at = now + UNKNOWN_KEY_COOLDOWN
        return await self._newer(is_time=is_time)

    async def keys_newly_signed_with(self) -> Mapping[str, VerifyKey]:
        """Keys fetched after the issuer's own answer was signed with an unknown one.

        Nobody but the issuer can make us ask, so a flood of invented names does not delay this: it is how we hear
        that keys were revoked.

        Raises: KeysUnavailable
        """
        now = self._clock()
        is_time = now >= self._ask_again_at
        if is_time:
            self._ask_again_at = now + RETRY_PAUSE
        return await self._newer(is_time=is_time)

    async def _newer(self, *, is_time: bool) -> Mapping[str, VerifyKey]:
        """Raises: KeysUnavailable."""
        if is_time:
            await self._fetching.join()
        else:
            await self._fetching.settle()
        if self._held is None or self._failure is not None:
            # The issuer may know the key: not being able to ask is no proof against the token.
            raise KeysUnavailable(f"keys of `{self.issuer}`: {self._failure}")
        return self._held.keys

    async def metadata(self) -> IssuerMetadata:
        """The issuer's metadata, not older than an hour.

        Raises: IssuerUnavailable
        """
        if self._metadata is not None and self._clock() < self._metadata[1]:
            return self._metadata[0]
        return await self._discovering.join()

    async def aclose(self) -> None:
        """End what is under way on this event loop."""
        await self._fetching.aclose()
        await self._discovering.aclose()

    async def _discover(self) -> IssuerMetadata:
        metadata = await discover(self._connections.http(), self.issuer)
        self._metadata = metadata, self._clock() + METADATA_LIFETIME
        return metadata

    async def _fetch(self) -> None:
        """Replace the keys, or note the failure. Its waiters look at the outcome in the state."""
        try:
            self._held = await self._fetched()
        except (IssuerUnavailable, KeysUnavailable) as error:
            self._failure = error.detail
            self._retry_at = self._clock() + RETRY_PAUSE
            self._metadata = None  # the keys may have moved
            _log.warning("keys of %s were not fetched: %a", self.issuer, error.detail)
        else:
            self._failure = None

    async def _fetched(self) -> _KeySet:
        jwks_uri = self._jwks_uri or (await self.metadata()).jwks_uri
        if jwks_uri is None:
            raise IssuerUnavailable(f"metadata of `{self.issuer}` names no keys")
        http = self._connections.http()
        request = http.build_request("GET", jwks_uri, headers={"accept": "application/json"})
        answer = await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=JWKS_SECONDS)
        if answer.status != 200:
            raise IssuerUnavailable(f"{jwks_uri}: HTTP {answer.status}")
        found = _MAX_AGE.search(answer.headers.get("cache-control", ""))
        max_age = float(found[1]) if found else DEFAULT_MAX_AGE
        return _KeySet(parse_jwks(answer.body), self._clock(), min(max(max_age, MIN_MAX_AGE), MAX_MAX_AGE))
