"""What the gateway asks of a way to an upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from perhop.core.call import Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamReply:
    """An answer whose head has come; the body streams as it comes. `close` drops the rest of it."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for each, value in self.headers if each == name), None)


class Upstream(Protocol):
    async def send(self, http_method: str, headers: Headers, body: bytes) -> UpstreamReply:
        """Send one request and return when the head of its answer has come. Reading the body may raise, too.

        Raises: UpstreamUnavailable
        """
        ...
