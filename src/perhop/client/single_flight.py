"""One piece of work for all who want its result at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Runs `start` once however many wait; a waiter that is cancelled does not stop it for the others."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, Result]]) -> None:
        self._start = start
        self._task: asyncio.Task[Result] | None = None

    def launch(self) -> asyncio.Task[Result]:
        """The work under way on this event loop, begun now if there is none."""
        task = self._under_way()
        if task is None:
            task = self._task = asyncio.get_running_loop().create_task(self._start())
            # An outcome that nobody waits for any more is not an error to report.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def join(self) -> Result:
        """Wait for the work under way, begun now if there is none."""
        return await asyncio.shield(self.launch())

    async def settle(self) -> None:
        """Wait for the work under way, if there is any; its result is not looked at."""
        task = self._under_way()
        if task is not None:
            await asyncio.wait([task])

    async def aclose(self) -> None:
        """End the work under way on this event loop; whoever waits for it is cancelled too."""
        task = self._under_way()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _under_way(self) -> asyncio.Task[Result] | None:
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            return None
        return task
