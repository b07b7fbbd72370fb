"""One request and its answer on a connection: uvicorn's own cycle, and beside it the short way of whole ones.

The short way writes what uvicorn would, octet for octet; what it does not know for certain it leaves to uvicorn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

from perhop.core.call import HeaderFields, Headers
from perhop.core.short_way import SHORT_WAY

if TYPE_CHECKING:
    from perhop.serving.http_protocol import BoundedHttpProtocol

App = Callable[..., Awaitable[Any]]
Fields = list[tuple[bytes, bytes]]

SEND_SECONDS = 20.0
"""For a peer to take what was written already, before more is, or before its closed connection is aborted."""

MAX_HEADS = 1024
MAX_HEAD_BYTES = 1024
MAX_JOINED_BYTES = 64 * 1024
"""A larger body is written by itself, rather than copied behind its head."""

# What is ours or a word of HTTP; a session, a nonce or a challenge is of one caller, and is not kept.
_KEPT_NAMES = frozenset({"allow", "cache-control", "content-type", "mcp-protocol-version", "pragma", "retry-after"})
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})

_heads: dict[Headers, bytes] = {}
_defaults: tuple[Fields, bytes] = ([], b"")


class HttpCycle(RequestResponseCycle):
    """A request on its way to its answer, for uvicorn and for the short way."""

    # What every request begins with; uvicorn's own constructor would set each of them.
    body: bytes | bytearray = b""  # type: ignore[assignment]  # whoever adds to it makes it a bytearray
    more_body = True
    disconnected = False
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    on_gone: Callable[[], None] | None = None
    task: asyncio.Task[None] | None = None
    _event: asyncio.Event | None = None
    _has_news = False

    def __init__(
        self, protocol: BoundedHttpProtocol, scope: Any, *, keep_alive: bool, expect_100_continue: bool = False
    ) -> None:
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.logger = protocol.logger
        self.access_logger = protocol.access_logger
        self.access_log = protocol.access_log
        self.default_headers = protocol.server_state.default_headers
        self.on_response = protocol.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expect_100_continue
        self._protocol = protocol

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]
        """Set when there is something to be received. Made only if somebody waits for it."""
        event = self._event
        if event is None:
            event = self._event = asyncio.Event()
            if self._has_news:
                event.set()
        return event

    def tell(self) -> None:
        """There is something to be received."""
        self._has_news = True
        if self._event is not None:
            self._event.set()

    def take(self, octets: bytes) -> int:
        """Add a piece of the body; returns how much there is."""
        if not self.body:
            self.body = octets
        elif isinstance(self.body, bytearray):
            self.body += octets
        else:
            self.body = bytearray(self.body) + octets
        self.tell()
        return len(self.body)

    async def run_asgi(self, app: App) -> None:
        """Run the application. What it does wrong, uvicorn answers and logs."""
        try:
            try:
                result = await app(self.scope, self.receive, self.send)
            except BaseException as error:
                await super().run_asgi(_raising(error))
            else:
                if result is not None or not self.response_complete:
                    await super().run_asgi(_giving(result))
        finally:
            if not self.response_complete and self.transport.is_closing():
                self._protocol.abort_in_time()  # uvicorn has closed it in the middle of the answer
            # Neither may keep the other alive: nobody would look for them.
            self.on_response = _nothing
            self.scope.pop(SHORT_WAY, None)  # type: ignore[misc]  # the one key that uvicorn does not know
            if self.task is not None:
                self._protocol.tasks.discard(self.task)
                self.task = None
            del self._protocol

    async def send(self, message: Any) -> None:
        """As uvicorn's. Whoever takes nothing of an answer for so long is not waited for: the connection is aborted."""
        if self.flow.write_paused and not self.disconnected:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self.flow.drain()
            except TimeoutError:
                self.transport.abort()
        await super().send(message)

    # --- the short way -----------------------------------------------------------------------------------------------

    def fields(self) -> HeaderFields:
        """As `ShortWay` says."""
        return HeaderFields.of(self.scope["headers"])

    def take_body(self) -> bytes | None:
        """As `ShortWay` says."""
        if self.more_body or self.disconnected or self.response_complete or self.waiting_for_100_continue:
            return None
        if not (self._has_news if self._event is None else self._event.is_set()):
            return None  # it was taken before
        body, self.body = bytes(self.body), b""
        self._has_news = False
        if self._event is not None:
            self._event.clear()
        if self.flow.read_paused:
            self.flow.resume_reading()
        return body

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """As `ShortWay` says."""
        if (
            self.response_started
            or self.disconnected
            or self.access_log
            or self.flow.write_paused
            or self.scope["method"] == "HEAD"
            or not headers
        ):
            return False
        length = str(len(body))
        if headers[-1] != ("content-length", length):
            return False
        others = headers[:-1]
        rendered = _heads.get(others) or _render(others)
        if rendered is None or status not in STATUS_LINE:
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = self.chunked_encoding = False
        defaults = _defaults[1] if self.default_headers is _defaults[0] else _render_defaults(self.default_headers)
        end = b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n"
        if len(body) <= MAX_JOINED_BYTES:
            self.transport.write(b"".join((STATUS_LINE[status], defaults, rendered, length.encode(), end, body)))
        else:
            self.transport.write(b"".join((STATUS_LINE[status], defaults, rendered, length.encode(), end)))
            self.transport.write(body)
        if self._event is not None:
            self._event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True

    def give_up(self) -> None:
        """As `ShortWay` says."""
        if self.flow.write_paused and not self.disconnected:
            self.transport.abort()


def _render(headers: Headers) -> bytes | None:
    """The fields of an answer up to its length; None of one that uvicorn would refuse, or frame in its own way."""
    parts = []
    for name, value in headers:
        lower = name.lower()
        if lower in _FRAMING:
            return None
        octets, text = lower.encode("latin-1"), value.encode("latin-1")
        if HEADER_RE.search(octets) or HEADER_VALUE_RE.search(text):
            return None
        parts.append(b"%s: %s\r\n" % (octets, text))
    rendered = b"".join((*parts, b"content-length: "))
    if len(rendered) <= MAX_HEAD_BYTES and all(name in _KEPT_NAMES for name, _ in headers):
        if len(_heads) >= MAX_HEADS:
            _heads.clear()
        _heads[headers] = rendered
    return rendered


def _render_defaults(fields: Fields) -> bytes:
    """What uvicorn puts into every answer: a new list every second, never changed."""
    global _defaults
    rendered = b"".join(b"%s: %s\r\n" % (name.lower(), value) for name, value in fields)
    _defaults = (fields, rendered)
    return rendered


def _raising(error: BaseException) -> App:
    async def app(*_: object) -> None:
        raise error

    return app


def _giving(result: object) -> App:
    async def app(*_: object) -> object:
        return result

    return app


def _nothing() -> None:
    pass
