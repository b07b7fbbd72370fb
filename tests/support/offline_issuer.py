"""An issuer without a socket, on the clock of the test: its answers can be changed, what it was asked is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from perhop.resource_server.testing import ThrowawayIssuer
from perhop.resource_server.testing.loopback_http import Reply, Request

NOW = 1_800_000_000


class Clock:
    """Seconds since the epoch, moved by the test."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class OfflineIssuer(ThrowawayIssuer):
    """`replies` stand in for the true answer at a path; while `is_down`, connections fail."""

    def __init__(self, *, clock: Clock, url: str = "https://auth.example.com") -> None:
        super().__init__(clock=clock)
        self.url = url
        self.replies: dict[str, Reply] = {}
        self.is_down = False
        self.sent: list[Request] = []

    def http(self) -> httpx2.AsyncClient:
        """A client whose every request comes here."""
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self._handle))

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        if self.is_down:
            raise httpx2.ConnectError("nobody listens", request=request)
        path, query = request.url.path, request.url.query.decode()
        plain = Request(request.method, path, query, dict(request.headers), await request.aread())
        self.sent.append(plain)
        reply = await self.answer(plain)
        return httpx2.Response(reply.status, headers=list(reply.headers), stream=_Body(reply.body))

    async def answer(self, request: Request) -> Reply:
        """The reply that stands in, else the true answer; counted either way."""
        if request.path not in self.replies:
            return await super().answer(request)
        async with self._asked:
            self.requests[request.path] += 1
            self._asked.notify_all()
        return self.replies[request.path]


class _Body(httpx2.AsyncByteStream):
    """A body that is read from the wire, as a real one is."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 4096):
            yield self._body[start : start + 4096]
