"""Keeps the events of a stream in memory, so that a client that comes back gets what it missed."""

from __future__ import annotations

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage


class EventMemory(EventStore):
    """Events of all streams, in order; the id of an event is its place."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep one event; None primes a stream and is never sent again."""
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send again what that stream carried after the event; None when the event is not known."""
        if not last_event_id.isdecimal() or int(last_event_id) >= len(self._events):
            return None
        last = int(last_event_id)
        stream, _ = self._events[last]
        for place, (of, message) in enumerate(self._events[last + 1 :], start=last + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(place)))
        return stream
