"""One answer as it comes: its head, then its body in pieces, then its end or what went wrong.

Its connection writes it, whoever called reads it. An answer that has ended has no connection any more: that may carry
another call already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from perhop.core.call import Headers
from perhop.errors import AnswerTooLong, UpstreamUnavailable

Failure = UpstreamUnavailable | AnswerTooLong


class Source(Protocol):
    """The connection that an answer comes from."""

    def drop(self) -> None:
        """Close it at once: what it carries is no longer wanted."""
        ...

    def resume(self) -> None:
        """Go on reading after the pieces were taken."""
        ...


class Answer(AsyncIterator[bytes]):
    """`status` and `headers` are there once `head` has returned. Read by one reader."""

    __slots__ = ("_failure", "_loop", "_pieces", "_source", "_waiter", "headers", "size", "status")

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Source) -> None:
        self._loop = loop
        self._source: Source | None = source
        self._failure: Failure | None = None
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = loop.create_future()
        self.size = 0
        self.status = 0
        self.headers: Headers = ()

    # What its reader does.

    async def head(self) -> None:
        """Return when the head has come. Raises: UpstreamUnavailable, AnswerTooLong."""
        if self._waiter is not None:
            await self._waiter
        if self.status == 0 and self._failure is not None:
            raise self._failure

    async def __anext__(self) -> bytes:
        """All that has come of the body since. Raises: UpstreamUnavailable, AnswerTooLong."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self._source is None:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter
        pieces = self._pieces
        self._pieces, self.size = [], 0
        if self._source is not None:
            self._source.resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def close(self) -> None:
        """Drop what has not come yet, and its connection with it."""
        self.abandon()

    def abandon(self) -> None:
        """The same, for whoever cannot wait."""
        if self._source is not None:
            self._source.drop()

    # What its connection does.

    def begin(self, status: int, headers: Headers) -> None:
        """The head is there."""
        self.status, self.headers = status, headers
        self._wake()

    def add(self, piece: bytes) -> None:
        """So much more of the body is there."""
        self._pieces.append(piece)
        self.size += len(piece)
        if self._waiter is not None:
            self._wake()

    def end(self) -> None:
        """It is there as a whole."""
        self._source = None
        if self._waiter is not None:
            self._wake()

    def fail(self, failure: Failure) -> None:
        """Nothing more will come; what is there of the body is read first."""
        self._source, self._failure = None, failure
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
