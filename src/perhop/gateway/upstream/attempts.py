"""How the calls over HTTP to one upstream went: the circuit, and the state that is told of the way.

What counts as a failure of the upstream is decided here, whoever sends the calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from perhop.gateway.upstream.circuit import ORDINARY, Attempt, Circuit
from perhop.gateway.upstream.interface import Condition, StateKeeper, UpstreamReply, UpstreamState

IDLE_CONNECTION_SECONDS = 3.0
"""Shorter than common servers keep a connection: a request is not sent into one that is just being closed."""

SECOND_TRY_SECONDS = 0.1
"""Until a call is tried once more for which no connection came about."""

_ANSWERS_OF_PROXIES = frozenset({502, 503, 504})
_MCP_MEDIA_TYPES = ("application/json", "text/event-stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds for a connection and for the head of an answer; failures in a row, and seconds of rest after them."""

    connect: float = 5.0
    answer: float = 120.0
    circuit_failures: int = 5
    circuit_seconds: float = 5.0


class Attempts:
    """Lets calls through and is told once how each went. `clock` is the time of day, `monotonic` never goes back."""

    def __init__(
        self,
        patience: Patience,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._circuit = Circuit(failures=patience.circuit_failures, seconds=patience.circuit_seconds, clock=monotonic)
        self._keeper = StateKeeper(clock)
        # The last call was answered, and nothing was wrong: what the next answer says is known already.
        self._is_well = False

    @property
    def state(self) -> UpstreamState:
        return self._keeper.state

    def admit(self) -> Attempt:
        """Let a call through, or tell when to come again. Raises: UpstreamUnavailable."""
        return ORDINARY if self._is_well else self._circuit.admit()

    def failed(self, attempt: Attempt, problem: str) -> None:
        """The upstream could not be reached, broke off, or did not answer in time."""
        self._is_well = False
        self._circuit.failed(attempt)
        self._keeper.become(Condition.FAILED, problem)

    def abandoned(self, attempt: Attempt) -> None:
        """Nothing was learned of the upstream."""
        self._circuit.abandoned(attempt)

    def answered(self, attempt: Attempt, reply: UpstreamReply) -> None:
        """The head of an answer has come."""
        status = reply.status
        if status in _ANSWERS_OF_PROXIES and not _is_of_mcp(reply.header("content-type")):
            # An answer in the upstream's stead: a proxy before it says that it is not there.
            self.failed(attempt, f"answered for with {status}")
        elif not self._is_well:
            self._circuit.reached(attempt)
            self._keeper.become(Condition.UP)
            self._is_well = self._circuit.is_untroubled


def _is_of_mcp(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() in _MCP_MEDIA_TYPES
