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
    """`arrival` is done when the head is there, or will not come: `status` is 0 then, and `failure` says why.

    `whole` is the body of an answer that ended before anything of it was taken. Read by one reader.
    """

    __slots__ = (
        "_is_untouched",
        "_loop",
        "_pieces",
        "_source",
        "_waiter",
        "arrival",
        "failure",
        "headers",
        "size",
        "status",
        "whole",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Source) -> None:
        self._loop = loop
        self._source: Source | None = source
        self._pieces: list[bytes] = []
        self._is_untouched = True
        self.failure: Failure | None = None
        self.arrival: asyncio.Future[None] = loop.create_future()
        self._waiter: asyncio.Future[None] | None = self.arrival
        self.size = 0
        self.status = 0
        self.headers: Headers = ()
        self.whole: bytes | None = None

    # What its reader does.

    async def __anext__(self) -> bytes:
        """All that has come of the body since. Raises: UpstreamUnavailable, AnswerTooLong."""
        while not self._pieces:
            if self.failure is not None:
                raise self.failure
            if self._source is None:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter
        pieces = self._pieces
        self._pieces, self.size, self._is_untouched = [], 0, False
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

    def come(self, status: int, headers: Headers, body: bytes) -> None:
        """It is there, head and body."""
        self._source = None
        self.status, self.headers, self.whole = status, headers, body
        if body:
            self._pieces.append(body)
        if not self.arrival.done():
            self.arrival.set_result(None)

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
        """Its end is there."""
        self._source = None
        if self._is_untouched:
            pieces = self._pieces
            self.whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if len(pieces) > 1:
                self._pieces = [self.whole]
        if self._waiter is not None:
            self._wake()

    def fail(self, failure: Failure) -> None:
        """Nothing more will come; what is there of the body is read first."""
        self._source, self.failure = None, failure
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
