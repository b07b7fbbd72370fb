"""A request with a bound token on its way to an application that knows bearer tokens only, and the answer's way back.

The proof was for the guard, and is used up; what goes in is a token that the guard has admitted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from perhop.core.call import Headers
from perhop.core.secret import Secret

AsgiScope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Send = Callable[[AsgiMessage], Awaitable[None]]


def as_bearer(asgi_scope: AsgiScope, presented: Secret) -> AsgiScope:
    """The same request, whose `Authorization` says `Bearer`, and without its proof."""
    kept = [(name, value) for name, value in asgi_scope["headers"] if name.lower() not in (b"authorization", b"dpop")]
    authorization = (b"authorization", f"Bearer {presented.reveal()}".encode("latin-1"))
    return {**asgi_scope, "headers": [*kept, authorization]}


def answering_with(headers: Headers, send: Send) -> Send:
    """A `send` that puts these headers into the answer."""
    added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    async def send_more(message: AsgiMessage) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return send_more
