"""The keys of `limits` in `perhop.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perhop.core.rate_limits import RateLimits
from perhop.settings.section import Section

PerMinute = Annotated[int, Field(ge=1, le=1_000_000_000)]
_USUAL = RateLimits()


class RateLimitSection(Section):
    """How much of anybody is taken in a minute."""

    requests_per_address: PerMinute = Field(
        default=_USUAL.requests_per_address,
        description="requests a minute, and as many at once, of one address (of IPv6: one /64) at `/authorize`, "
        "`/token`, `/introspect`, `/revoke`, `/register` and `/tasks` together. Behind a proxy that is not in "
        "`forwarded_from` everybody has the address of the proxy",
    )
    requests_per_client: PerMinute = Field(
        default=_USUAL.requests_per_client,
        description="the same of one client, once it is authenticated; of a public client for each address by itself",
    )
    calls_per_agent: PerMinute = Field(
        default=_USUAL.calls_per_agent,
        description="requests a minute, and as many at once, of one agent at the gateway, at all resources together",
    )

    def limits(self) -> RateLimits:
        """As the rest of Perhop has them."""
        return RateLimits(
            requests_per_address=self.requests_per_address,
            requests_per_client=self.requests_per_client,
            calls_per_agent=self.calls_per_agent,
        )
