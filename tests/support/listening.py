"""A stream without an end of its own, opened through the gateway of the demo."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from perhop.demo.scene import Scene, call


class Listening:
    """An open `subscriptions/listen`, whose first line has come."""

    def __init__(self, lines: AsyncIterator[str], first: str) -> None:
        self._lines = lines
        self._first = first

    async def last_event(self) -> dict[str, Any]:
        """What its last event said, when it has ended; within 10 s."""
        async with asyncio.timeout(10):
            every = [self._first] + [line async for line in self._lines]
        last: dict[str, Any] = json.loads(
            [line for line in every if line.startswith("data:")][-1].removeprefix("data:")
        )
        return last


@asynccontextmanager
async def listening(scene: Scene, token: str, *, rpc_id: int) -> AsyncIterator[Listening]:
    """Listen for changes of the calendar's tools with this token."""
    message = {
        "jsonrpc": "2.0",
        "id": rpc_id,
        "method": "subscriptions/listen",
        "params": {"_meta": call("", {})["params"]["_meta"], "notifications": {"toolsListChanged": True}},
    }
    sent = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "subscriptions/listen",
    }
    async with scene.http.stream("POST", scene.addresses.resource("calendar"), json=message, headers=sent) as stream:
        lines = stream.aiter_lines()
        yield Listening(lines, await asyncio.wait_for(anext(lines), 10))
