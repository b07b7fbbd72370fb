"""How many requests of an address, and of a client, the authorization server takes in a minute."""

from __future__ import annotations

import math
from collections.abc import Callable

from perhop.core.client import Client, NoAuthentication
from perhop.core.rate_limits import RateLimits
from perhop.errors import TooManyRequests
from perhop.rules.rates import Buckets, source_of


class RequestRates:
    """What was asked lately. Lives as long as the process; the limits are those of the configuration in force."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._addresses = Buckets()
        self._clients = Buckets()

    def check_address(self, address: str | None, limits: RateLimits) -> None:
        """Refuse an address that asks too often, before anything of its request is read.

        Raises: TooManyRequests
        """
        self._check(self._addresses, source_of(address or ""), limits.requests_per_address, "this address")

    def check_client(self, client: Client, address: str | None, limits: RateLimits) -> None:
        """Refuse a client that asks too often, once it is authenticated: a stranger cannot use up what is another's.

        A public client proves nothing, so it is counted for each address by itself.

        Raises: TooManyRequests
        """
        is_public = isinstance(client.authentication, NoAuthentication)
        key = f"{client.id} {source_of(address or '')}" if is_public else client.id
        self._check(self._clients, key, limits.requests_per_client, f"client `{client.id}`")

    def _check(self, buckets: Buckets, key: str, per_minute: int, who: str) -> None:
        wait = buckets.take(key, per_minute=per_minute, now=self._clock())
        if wait:
            raise TooManyRequests(f"more than {per_minute} requests a minute of {who}", retry_after=math.ceil(wait))
