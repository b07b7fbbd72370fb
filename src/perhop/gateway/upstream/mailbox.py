"""A mailbox: the messages for one stream of one caller; whoever reads the shared channel is never held up."""

from __future__ import annotations

import asyncio
from collections import deque

from perhop.errors import Unavailable, UpstreamUnavailable

MAX_MESSAGES = 1_000
MAX_BYTES = 32 * 1024 * 1024


class Mailbox:
    """Bounded. A caller who takes too little out of it loses the stream, and nobody else waits."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._size = 0
        self._grown = asyncio.Event()
        self._is_finished = False
        self._fact: Unavailable | None = None

    @property
    def is_open(self) -> bool:
        """True while something may still be put in."""
        return not self._is_finished

    @property
    def is_empty(self) -> bool:
        """True while there is nothing to take."""
        return not self._messages

    def put(self, message: bytes) -> None:
        """Add a message; what comes after the end is dropped."""
        if self._is_finished:
            return
        self._messages.append(message)
        self._size += len(message)
        self._grown.set()
        if len(self._messages) > MAX_MESSAGES or self._size > MAX_BYTES:
            self._messages.clear()
            self.break_off(UpstreamUnavailable("the caller reads too slowly"))

    def finish(self) -> None:
        """Nothing comes any more."""
        self._is_finished = True
        self._grown.set()

    def break_off(self, fact: Unavailable) -> None:
        """Nothing comes any more, because of this; what has come before is still read."""
        if not self._is_finished:
            self._fact = fact
        self.finish()

    async def take(self) -> bytes | None:
        """The next message; None at the end.

        Raises: UpstreamUnavailable, and what the mailbox was broken off with
        """
        while not self._messages:
            if self._fact is not None:
                raise self._fact
            if self._is_finished:
                return None
            self._grown.clear()
            await self._grown.wait()
        message = self._messages.popleft()
        self._size -= len(message)
        return message
