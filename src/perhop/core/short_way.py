"""The short way between our own listener and a request: what an ASGI message would only carry there and back.

It stands in the ASGI scope. Where another server listens it is not there, and where it does not fit it says so: then
everything goes by `receive` and `send`, with the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from perhop.core.call import HeaderFields, Headers

SHORT_WAY = "perhop.short_way"


class ShortWay(Protocol):
    """One request, as the listener has it."""

    on_gone: Callable[[], None] | None
    """Called once when the connection is lost before the answer is complete."""

    @property
    def task(self) -> Any:
        """The `asyncio.Task` in which the application answers it."""
        ...

    def fields(self) -> HeaderFields:
        """The header fields."""
        ...

    def take_body(self) -> bytes | None:
        """The body, if all of it is here; None if that is not so, and it comes by `receive`."""
        ...

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole answer whose last header is its length. False: nothing was sent, and it goes by `send`."""
        ...

    def give_up(self) -> None:
        """End the connection, if its peer has not taken what was written: nothing more would reach it."""
        ...


def short_way(asgi_scope: MutableMapping[str, Any]) -> ShortWay | None:
    """That of a request; None if it came in by another server."""
    way: ShortWay | None = asgi_scope.get(SHORT_WAY)
    return way
