"""One HTTP request as the gateway sees it; its body stays unread until somebody may send one."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, Protocol

from perhop.core.call import Headers, values_of


class BodyReader(Protocol):
    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task in which the request is answered, where the listener says so."""
        ...

    async def read(self) -> bytes:
        """The whole body. Raises: BodyTooLarge, BodyTooSlow."""
        ...

    @property
    def octets(self) -> bytes:
        """What has been read, whole; empty before."""
        ...

    @property
    def is_settled(self) -> bool:
        """True if it has been read, or there is none to be read."""
        ...

    def give_up(self) -> None:
        """End the connection of a caller who has not taken what was written: nothing more would come to it."""
        ...


class Request(NamedTuple):
    """Method, headers and the caller's address. Header values are text, one character a byte."""

    http_method: str
    headers: Headers
    address: str | None
    body: BodyReader

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        values = values_of(self.headers, name)
        return values[0] if values else None

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a header."""
        return values_of(self.headers, name)
