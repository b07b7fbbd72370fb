"""Whether the sender of a request is still there; if not, whoever works on the answer is cancelled.

Our own listener says so. By another one's `receive` only an answer that takes a while is watched: most are there before
anybody could have gone.
"""

from __future__ import annotations

import asyncio

from perhop.gateway.body import RequestBody
from perhop.gateway.timer_wheel import timer_wheel

UNWATCHED_SECONDS = 0.05


class SenderWatch:
    """Watches for the task that makes it; `end` must be called, and awaited if it is `watching` by then."""

    __slots__ = ("_body", "_slot", "_way", "_wheel", "is_gone", "task", "watching")

    def __init__(self, body: RequestBody) -> None:
        task = body.task or asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is answered by a task")
        self.task = task
        self.is_gone = False
        self.watching: asyncio.Task[None] | None = None
        self._body = body
        self._way = way = body.way
        if way is not None:
            # The listener knows, and says so.
            way.on_gone = self._sender_gone
        else:
            self._wheel = timer_wheel()
            self._slot = self._wheel.add(self, UNWATCHED_SECONDS)

    def end(self) -> None:
        """Stop watching."""
        if self._way is not None:
            self._way.on_gone = None
        elif self.watching is None:
            self._wheel.discard(self, self._slot)
        else:
            self.watching.cancel()

    def time_is_up(self) -> None:
        """Called by the timer wheel: the answer takes a while."""
        self.watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        await self._body.sender_gone()
        self._sender_gone()

    def _sender_gone(self) -> None:
        # Whoever reads the body still, reads of it.
        if self._body.is_settled:
            self.is_gone = True
            self.task.cancel()
