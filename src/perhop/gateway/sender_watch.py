"""Whether the sender of a request is still there; if not, whoever works on the answer is cancelled.

Most answers are there before anybody could have gone: only one that takes a while is watched.
"""

from __future__ import annotations

import asyncio

from perhop.gateway.body import RequestBody
from perhop.gateway.timer_wheel import timer_wheel

UNWATCHED_SECONDS = 0.05


class SenderWatch:
    """Watches for the task that makes it; `end` must be called."""

    __slots__ = ("_body", "_slot", "_watching", "_wheel", "is_gone", "task")

    def __init__(self, body: RequestBody) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is answered by a task")
        self.task = task
        self.is_gone = False
        self._body = body
        self._watching: asyncio.Task[None] | None = None
        self._wheel = timer_wheel()
        self._slot = self._wheel.add(self, UNWATCHED_SECONDS)

    async def end(self) -> None:
        """Stop watching."""
        if self._watching is None:
            self._wheel.discard(self, self._slot)
        else:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    def time_is_up(self) -> None:
        """Called by the timer wheel: the answer takes a while."""
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        await self._body.sender_gone()
        self.is_gone = True
        self.task.cancel()
