"""What the gateway asks of a way to an upstream, and what a way to an upstream says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from perhop.core.call import Headers
from perhop.core.token import BoundToken
from perhop.rules.mcp_methods import Era

OF_THE_BODY = frozenset({"content-length", "transfer-encoding"})
"""Where a body ends is for whoever reads the connection: not among the headers of a reply."""


class UpstreamReply:
    """An answer whose head has come; the body streams as it comes. `close` drops the rest of it.

    `headers` are those that say what the answer is; where its body ends is told by its end. `whole` is the body if all
    of it is here, and then there is nothing to close; `chunks` gives it, too. None: it is still to come.
    """

    __slots__ = ("chunks", "close", "headers", "status", "whole")

    def __init__(
        self,
        *,
        status: int,
        headers: Headers,
        chunks: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]],
        whole: bytes | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.chunks = chunks
        self.close = close
        self.whole = whole

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        for each, value in self.headers:
            if each == name:
                return value
        return None


class Upstream(Protocol):
    async def send(
        self, http_method: str, headers: Headers, body: bytes, own: Headers = (), caller: BoundToken | None = None
    ) -> UpstreamReply:
        """Send one request and return when the head of its answer has come. Reading the body may raise, too.

        `headers` are often those of the call before, and what follows from them may be kept; `own` are of this call
        alone, a credential among them, and nothing is kept of those. `caller` is whom the call is for, None for a
        question of the gateway's own; nothing of it goes out.

        Raises: UpstreamUnavailable, AnswerTooLong
        """
        ...


class Condition(StrEnum):
    """How the way to an upstream stands. Whether the upstream may be trusted with tokens is the self-test's to say."""

    STARTING = "starting"
    UP = "up"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamState:
    """How it stands, since when (seconds since the epoch), and why if something is wrong."""

    condition: Condition
    since: float
    problem: str = ""


class OpenUpstream(Upstream, Protocol):
    """A way that is open: it tells its state, and is closed by whoever opened it."""

    @property
    def state(self) -> UpstreamState: ...

    @property
    def eras(self) -> frozenset[Era]:
        """Every era that its server is known to speak; empty while that is not known for each of them."""
        ...

    async def close(self, *, within: float = 0.0) -> None:
        """Take nothing new, let what runs end for so many seconds, then end it. May be called more than once."""
        ...


class StateKeeper:
    """The state of one way to an upstream; `since` is when its condition last changed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._state = UpstreamState(condition=Condition.STARTING, since=clock())

    @property
    def state(self) -> UpstreamState:
        return self._state

    def become(self, condition: Condition, problem: str = "") -> bool:
        """Note how it stands now; True if its condition is another than before."""
        if condition is self._state.condition and problem == self._state.problem:
            return False
        changed = condition is not self._state.condition
        since = self._clock() if changed else self._state.since
        self._state = UpstreamState(condition=condition, since=since, problem=problem)
        return changed
