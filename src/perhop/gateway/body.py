"""The body of a request, read within its limits, and the news that its sender is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from perhop.core.short_way import ShortWay
from perhop.errors import BodyTooLarge, BodyTooSlow, RequestMalformed
from perhop.gateway.timer_wheel import within
from perhop.resource_server.at_once import AtOnce, begin
from perhop.rules.mcp_message import MAX_BODY_BYTES

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class RequestBody:
    """Owns the receiving side of one ASGI request: nobody else reads from it."""

    def __init__(
        self, receive: Receive, *, seconds: float, stated_length: str | None, way: ShortWay | None = None
    ) -> None:
        self.way = way
        self.task: asyncio.Task[Any] | None = way.task if way is not None else None
        self._receive = receive
        self._seconds = seconds
        self._stated_length = stated_length
        self._octets = b""
        self._is_settled = False
        # Made only if somebody waits: most answers are there before anybody does.
        self._settling: asyncio.Event | None = None

    @property
    def octets(self) -> bytes:
        """What has been read, whole; empty before."""
        return self._octets

    @property
    def is_settled(self) -> bool:
        """True if it has been read, or there is none to be read."""
        return self._is_settled

    def give_up(self) -> None:
        """End the connection of a caller who has not taken what was written: nothing more would come to it."""
        if self.way is not None:
            self.way.give_up()

    async def read(self) -> bytes:
        """Read the whole body.

        Raises: BodyTooLarge, BodyTooSlow, RequestMalformed
        """
        stated = self._stated_length
        if stated is not None and stated.isdigit() and int(stated[:20]) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"{stated[:20]} bytes announced")
        # Most bodies are whole when they are asked for.
        octets = self.way.take_body() if self.way is not None else None
        if octets is not None:
            if len(octets) > MAX_BODY_BYTES:
                raise BodyTooLarge(f"more than {MAX_BODY_BYTES} bytes")
            self.settle()
            self._octets = octets
            return octets
        begun = begin(self._read())
        if isinstance(begun, AtOnce):
            self._octets = begun.value
            return self._octets
        try:
            with within(self._seconds):
                self._octets = await begun
        except TimeoutError as error:
            raise BodyTooSlow(f"not here after {self._seconds} s") from error
        return self._octets

    def settle(self) -> None:
        """Nobody will read the body any more, or it has been read: what comes now is the sender's going."""
        self._is_settled = True
        if self._settling is not None:
            self._settling.set()

    async def sender_gone(self) -> None:
        """Return when the sender of a settled request is gone."""
        if not self._is_settled:
            self._settling = asyncio.Event()
            await self._settling.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _read(self) -> bytes:
        octets, is_last = await self._next()
        if is_last:
            return octets
        gathered = bytearray(octets)
        while not is_last:
            octets, is_last = await self._next()
            gathered += octets
            if len(gathered) > MAX_BODY_BYTES:
                raise BodyTooLarge(f"more than {MAX_BODY_BYTES} bytes")
        return bytes(gathered)

    async def _next(self) -> tuple[bytes, bool]:
        """The next piece, and whether it is the last one. Raises: BodyTooLarge, RequestMalformed."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise RequestMalformed("the sender was gone before its body was here")
        octets: bytes = message.get("body", b"")
        if len(octets) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"more than {MAX_BODY_BYTES} bytes")
        is_last = not message.get("more_body", False)
        if is_last:
            self.settle()
        return octets, is_last
