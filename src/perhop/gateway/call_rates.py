"""How many calls of an agent the gateway takes in a minute, at all resources together."""

from __future__ import annotations

import math
from collections.abc import Callable

from perhop.core.rate_limits import RateLimits
from perhop.errors import RateExceeded
from perhop.rules.rates import Buckets


class CallRates:
    """What agents called lately. Lives as long as the process; `limits` gives those of the configuration in force."""

    def __init__(self, limits: Callable[[], RateLimits], *, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._agents = Buckets()

    def check(self, agent: str) -> None:
        """Count a request of an agent.

        Raises: RateExceeded
        """
        per_minute = self._limits().calls_per_agent
        wait = self._agents.take(agent, per_minute=per_minute, now=self._clock())
        if wait:
            raise RateExceeded(f"more than {per_minute} calls a minute of `{agent}`", retry_after=math.ceil(wait))
