"""uvicorn's HTTP protocol with what it lacks: bounds of the header section's size and time, one host in a request, and
bodies that are framed in the one way that everybody understands.

Everything else, parsing above all, stays with uvicorn and llhttp.
"""

from __future__ import annotations

from asyncio import BaseTransport, TimerHandle
from collections.abc import Sequence
from itertools import chain
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEADER_BYTES = 16 * 1024
"""Names, values and their four separators; a larger section is answered 431."""

MAX_UNPARSED_BYTES = 2 * MAX_HEADER_BYTES
"""Bytes that are neither body nor the end of anything: of a request line, headers, a chunk's header or trailers."""

HEADER_SECONDS = 5.0
"""From the connection, or the first byte of a further request, to the end of its headers."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_OTHER_CODING = b"HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses header sections that are too large or too slow, before any application code runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timer: TimerHandle | None = None
        self._unparsed = 0
        self._in_headers = True
        self._refused = False

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it to Transport, and so is it
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_UNPARSED_BYTES:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        # What was sent right behind a refused request came in the same read, and is not looked at either.
        if self._refused:
            return
        super().on_message_begin()
        if not self._in_headers:
            self._await_headers()

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._in_headers = False
        self._unparsed = 0
        self._stop_timer()
        if sum(map(len, chain.from_iterable(self.headers))) + 4 * len(self.headers) > MAX_HEADER_BYTES:
            self._refuse(_TOO_LARGE)
            return
        if self.parser.should_upgrade() or not is_good_target(self.url, self.headers):
            # The parser reads no body of a request that asks for another protocol: it would take what follows for the
            # next request. Spec: RFC 9110 §7.8
            self._refuse(_BAD_REQUEST)
            return
        if not is_known_coding(self.headers):
            self._refuse(_OTHER_CODING)
            return
        super().on_headers_complete()
        # A trailer is no header, whatever it is called, and nothing of ours reads one: it goes into a list of its own,
        # which nobody has. Spec: RFC 9110 §6.5.1
        self.headers = []

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            self._unparsed = 0
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            self._unparsed = 0
            super().on_message_complete()

    def _await_headers(self) -> None:
        self._in_headers = True
        self._stop_timer()
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._refuse, _TOO_SLOW)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, answer: bytes) -> None:
        self._refused = True
        self._stop_timer()
        if self.transport.is_closing():
            return
        # In the middle of the answer to an earlier request these bytes would be read as a part of it.
        earlier: RequestResponseCycle | None = self.cycle
        if earlier is None or earlier.response_complete:
            self.transport.write(answer)
        self.transport.close()


def is_known_coding(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """False for a body in a transfer coding beside chunks: what is inside it would be read as if it were not coded.

    Spec: RFC 9112 §6.1
    """
    codings = [field[1].strip().lower() for field in headers if field[0] == b"transfer-encoding"]
    return codings in ([], [b"chunked"])


def is_good_target(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """False for a request target with a fragment, and for one that names another host than `Host` does.

    An application sees the path of the target only: what it says of the host would be lost without a look.

    Spec: RFC 9112 §3.2
    """
    if b"#" in target:
        return False
    if target.startswith(b"/") or target == b"*":
        return True
    authority = target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
    return [value.strip().lower() for name, value in headers if name == b"host"] == [authority.lower()]
