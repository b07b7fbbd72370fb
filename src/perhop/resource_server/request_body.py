"""The body of a request: read whole before it is checked, and given once more to the application.

Nearly every body is there when it is asked for; then no timer runs, and nothing waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import CoroutineType
from typing import Any

from perhop.errors import BodyTooLarge, BodyTooSlow
from perhop.resource_server.at_once import AtOnce, Waiting, begin
from perhop.rules.mcp_message import MAX_BODY_BYTES

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]

BODY_SECONDS = 30.0


def begin_body(declared: str, receive: Receive) -> bytes | Waiting[bytes | None] | None:
    """The whole body, if it is there at once; None when the peer has gone away. Else what `rest_of_body` waits for.

    `declared` is the request's Content-Length, if it has one.

    Raises: BodyTooLarge
    """
    if declared.isdecimal() and (len(declared) > 12 or int(declared) > MAX_BODY_BYTES):
        raise BodyTooLarge(f"{declared[:12]} bytes declared")
    first = receive()
    if type(first) is CoroutineType:
        try:
            first = Waiting(first, first.send(None))
        except StopIteration as end:
            message: AsgiMessage = end.value
            body = message.get("body", b"")
            if message["type"] == "http.request" and not message.get("more_body") and len(body) <= MAX_BODY_BYTES:
                return bytes(body)
            first = _come(message)
    reading = begin(_read_whole(first, receive))
    return reading.value if isinstance(reading, AtOnce) else reading


async def rest_of_body(reading: Waiting[bytes | None]) -> bytes | None:
    """The whole body, once it has come; None when the peer has gone away. The token may have ended meanwhile.

    Raises: BodyTooLarge, BodyTooSlow
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await reading
    except TimeoutError:
        raise BodyTooSlow(f"not within {BODY_SECONDS} s") from None


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives this body first, whole, and then whatever else comes."""
    left = [body]

    async def again() -> AsgiMessage:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again


async def _read_whole(first: Awaitable[AsgiMessage], receive: Receive) -> bytes | None:
    """Raises: BodyTooLarge."""
    body = bytearray()
    message = await first
    while True:
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"more than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


async def _come(message: AsgiMessage) -> AsgiMessage:
    return message
