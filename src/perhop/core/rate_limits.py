"""How much of anybody is taken in a minute."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Requests a minute at the authorization server, and calls a minute at the gateway; as many at once. None is 0."""

    requests_per_address: int = 6_000
    requests_per_client: int = 6_000
    calls_per_agent: int = 60_000
