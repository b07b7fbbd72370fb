"""Replies: what a streamable-HTTP server would answer, made of the messages of a stdio server.

A call whose answer is the first that comes for it is answered with JSON; one with anything before that, with a stream.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from perhop.core.call import Headers
from perhop.errors import UpstreamUnavailable
from perhop.gateway.sse import comment, message_event
from perhop.gateway.upstream.conversation import PendingCall
from perhop.gateway.upstream.interface import UpstreamReply
from perhop.gateway.upstream.mailbox import Mailbox
from perhop.rules.mcp_message import render_json
from perhop.rules.mcp_methods import MODERN_REVISIONS, Era

KEEP_ALIVE_SECONDS = 25.0
"""Between signs of life on a stream that has nothing to say, for whoever between us and the caller ends silent ones."""

SERVER_ERROR = -32000
UNSUPPORTED_REVISION = -32022

_MODERN_STATUSES = {
    **dict.fromkeys((-32700, -32600, -32602, -32020, -32021, UNSUPPORTED_REVISION), 400),
    -32601: 404,
}

Close = Callable[[], Awaitable[None]]


async def answer_call(call: PendingCall, *, era: Era, close: Close, headers: Headers = ()) -> UpstreamReply:
    """Return when the first message for the call has come. Sets no limit to the time.

    Raises: UpstreamUnavailable
    """
    first = await call.mailbox.take()
    if first is None:
        raise UpstreamUnavailable("the server ended the call without an answer")
    if call.answer is not None and call.has_only_its_answer:
        return _document(_status_of(call.answer, era), first, close, headers)
    return stream(call.mailbox, first=first, close=close, headers=headers)


def stream(
    mailbox: Mailbox,
    *,
    first: bytes | None = None,
    close: Close,
    headers: Headers = (),
    keep_alive: float = KEEP_ALIVE_SECONDS,
) -> UpstreamReply:
    """What a mailbox gets, as server-sent events."""
    headers = (("content-type", "text/event-stream"), *headers)
    return UpstreamReply(status=200, headers=headers, chunks=_events(mailbox, first, keep_alive), close=close)


def answer(message: Mapping[str, Any], headers: Headers) -> UpstreamReply:
    """An answer that has come whole."""
    return _document(200, render_json(message), nothing, headers)


def accepted() -> UpstreamReply:
    """The answer to a message that has none."""
    return _document(202, b"", nothing, ())


def ended() -> UpstreamReply:
    """The answer to a client that ends its session."""
    return _document(200, b"", nothing, ())


def refused(
    status: int, message: Mapping[str, Any] | None, *, code: int = SERVER_ERROR, text: str, **more: Any
) -> UpstreamReply:
    """A JSON-RPC error for this message, or for none in particular."""
    error = {"code": code, "message": text, **more}
    body = {"jsonrpc": "2.0", "id": None if message is None else message.get("id"), "error": error}
    return _document(status, render_json(body), nothing, ())


def unknown_session() -> UpstreamReply:
    """The client has to open a new session. Spec: MCP 2025-11-25 transports."""
    return refused(404, None, text="Session not found")


def no_session(message: Mapping[str, Any] | None) -> UpstreamReply:
    """A server of the handshake era wants a session. Spec: MCP 2025-11-25 transports."""
    return refused(400, message, text="Bad Request: no session id")


def only_handshakes(message: Mapping[str, Any], agreed: str) -> UpstreamReply:
    """What a server of the handshake era says of a request without one: no error that a modern server would know.

    Spec: MCP 2025-11-25 transports
    """
    requested = MODERN_REVISIONS[0]
    text = f"Bad Request: unsupported protocol version {requested}; supported: {agreed}, after `initialize`"
    return refused(400, message, text=text)


def no_handshakes(message: Mapping[str, Any], requested: str) -> UpstreamReply:
    """What a server of the stateless era says of a handshake, or of what would need one before it.

    Spec: MCP 2026-07-28 basic/versioning
    """
    supported = {"supported": list(MODERN_REVISIONS), "requested": requested}
    text = f"Unsupported protocol version: this server speaks {', '.join(MODERN_REVISIONS)} only"
    return refused(400, message, code=UNSUPPORTED_REVISION, text=text, data=supported)


def only_post() -> UpstreamReply:
    """There are neither streams nor ends without sessions. Spec: MCP 2026-07-28 transports."""
    return _document(405, b"", nothing, (("allow", "POST"),))


def _status_of(answer: Mapping[str, Any], era: Era) -> int:
    """The HTTP status of an answer: modern servers tell some errors by it, too."""
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return _MODERN_STATUSES.get(code, 200) if era is Era.MODERN and isinstance(code, int) else 200


def _document(status: int, body: bytes, close: Close, headers: Headers) -> UpstreamReply:
    typed = (("content-type", "application/json"), *headers) if body else headers
    return UpstreamReply(status=status, headers=typed, chunks=_single(body), close=close)


async def _single(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _events(mailbox: Mailbox, first: bytes | None, keep_alive: float) -> AsyncIterator[bytes]:
    if first is not None:
        yield message_event(first)
    while True:
        try:
            async with asyncio.timeout(keep_alive):
                message = await mailbox.take()
        except TimeoutError:
            yield comment("still here")
            continue
        if message is None:
            return
        yield message_event(message)


async def nothing() -> None:
    """Close what is whole: there is nothing to let go of."""
