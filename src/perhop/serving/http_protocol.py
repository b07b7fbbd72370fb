"""uvicorn's HTTP protocol with what it lacks: bounds of the header section's size and time, one host in a request, and
bodies that are framed in the one way that everybody understands.

Everything else, parsing above all, stays with uvicorn and llhttp.
"""

from __future__ import annotations

from asyncio import BaseTransport, TimerHandle
from collections.abc import Sequence
from itertools import chain
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from perhop.core.short_way import SHORT_WAY
from perhop.rules.header_bounds import MAX_HEADER_BYTES
from perhop.serving.http_cycle import SEND_SECONDS, HttpCycle

MAX_UNPARSED_BYTES = 2 * MAX_HEADER_BYTES
"""Bytes that are neither body nor the end of anything: of a request line, headers, a chunk's header or trailers."""

HEADER_SECONDS = 5.0
"""From the connection, or the first byte of a further request, to the end of its headers."""

ONE_MORE_TURN_SECONDS = 0.01
"""Enough for any event loop to read what has come, once it is no longer busy."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_OTHER_CODING = b"HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses header sections that are too large or too slow, before any application code runs."""

    cycle: HttpCycle

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: TimerHandle | None = None
        self._due = 0.0
        self._deadline: float | None = None
        self._seen_over: float | None = None
        self._unparsed = 0
        self._in_headers = True
        self._has_begun = False
        self._refused = False
        self._answering: HttpCycle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it to Transport, and so is it
        self._close_in(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)
        # `self.cycle` is the request that came last; the one that is being answered may be an earlier one.
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.tell()
            if cycle.on_gone is not None:
                cycle.on_gone()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unparsed += len(data)
        self._has_begun = False
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # No line in the log, as for the other refusals: there would be one for each that a stranger cares to send.
            self._refuse(_BAD_REQUEST)
            return
        if self._unparsed > MAX_UNPARSED_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._in_headers and self._has_begun and self.cycle is not None:
            # The first one's time began with the connection.
            self._close_in(HEADER_SECONDS)

    def on_message_begin(self) -> None:
        # What was sent right behind a refused request came in the same read, and is not looked at either.
        if self._refused:
            return
        super().on_message_begin()
        self._in_headers = True
        self._has_begun = True

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._in_headers = False
        self._unparsed = 0
        self._deadline = None
        headers = self.headers
        if sum(map(len, chain.from_iterable(headers))) + 4 * len(headers) > MAX_HEADER_BYTES:
            self._refuse(_TOO_LARGE)
            return
        if self.parser.should_upgrade() or not is_good_target(self.url, headers):
            # The parser reads no body of a request that asks for another protocol: it would take what follows for the
            # next request. Spec: RFC 9110 §7.8
            self._refuse(_BAD_REQUEST)
            return
        if not is_known_coding(headers):
            self._refuse(_OTHER_CODING)
            return
        self._begin_cycle()
        # A trailer is no header, whatever it is called, and nothing of ours reads one: it goes into a list of its own,
        # which nobody has. Spec: RFC 9110 §6.5.1
        self.headers = []

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self._unparsed = 0
        cycle = self.cycle
        if cycle.response_complete:
            return  # nobody reads it, and the time that its sender has for the rest runs on
        self._deadline = None
        if cycle.take(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self._refused:
            return
        self._unparsed = 0
        cycle = self.cycle
        if cycle.response_complete:
            # It was answered before it had ended: the next one's time begins now.
            self._close_in(self.timeout_keep_alive)
        else:
            cycle.more_body = False
            cycle.tell()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self.abort_in_time()
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._deadline is None:  # otherwise the headers of the next one are on their way
            self._close_in(self.timeout_keep_alive)

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self.abort_in_time()

    # --- requests ----------------------------------------------------------------------------------------------------

    def _begin_cycle(self) -> None:
        """A request whose headers are here; as uvicorn does it, without what no listener of ours has."""
        scope: Any = self.scope
        http_version = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        if http_version != "1.1":
            scope["http_version"] = http_version
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        earlier: HttpCycle | None = self.cycle
        self.cycle = scope[SHORT_WAY] = HttpCycle(
            self,
            scope,
            keep_alive=http_version != "1.0" and self.parser.should_keep_alive(),
            expect_100_continue=self.expect_100_continue,
        )
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self._app())
        else:
            # Until the one before it has been answered.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self._app()))

    def _app(self) -> Any:
        """The application, unless there is too much to do already."""
        limit = self.limit_concurrency
        if limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit):
            self.logger.warning("Exceeded concurrency limit.")
            return service_unavailable
        return self.app

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        # It takes itself out of them again: a callback would be one more thing for the loop to do.
        self._answering = cycle
        task = cycle.task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)

    # --- time --------------------------------------------------------------------------------------------------------

    def _close_in(self, seconds: float) -> None:
        """Close the connection then, unless what was waited for has come: one timer, which seldom has to move."""
        deadline = self._deadline = self.loop.time() + seconds
        if self._timer is None or deadline < self._due:
            self._set_timer(deadline)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_at(due, self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        now = self.loop.time()
        if now < self._deadline:
            self._set_timer(self._deadline)
        elif self.transport.is_closing():
            self.transport.abort()
        elif self._seen_over != self._deadline:
            # What was waited for may have come while the loop was busy with others: it is read before the next look.
            self._seen_over = self._deadline
            self._set_timer(now + ONE_MORE_TURN_SECONDS)
        elif self._in_headers:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()
            self.abort_in_time()

    def abort_in_time(self) -> None:
        """To be called after a close, which waits for the peer to take what was written: so long, and no longer."""
        if self in self.connections:  # otherwise it is lost already, and a timer would only keep it from being freed
            self._close_in(SEND_SECONDS)

    def _refuse(self, answer: bytes) -> None:
        self._refused = True
        if self.transport.is_closing():
            return
        if self._is_between_answers():
            self.transport.write(answer)
        self.transport.close()
        self.abort_in_time()

    def _is_between_answers(self) -> bool:
        """False while octets of ours would be read as a part of another answer, or as the answer to another request."""
        cycle: HttpCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        # What is wrong is in the rest of its body, and nothing has been said to it yet.
        return cycle is self._answering and cycle.more_body and not cycle.response_started


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
