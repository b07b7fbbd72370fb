"""One connection to an upstream: a request goes out whole, its answer is read, and then it is free or closed.

Spec: RFC 9112 §9
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from perhop.errors import AnswerTooLong, UpstreamUnavailable
from perhop.gateway.upstream.own_pool.answer import Answer, Failure
from perhop.gateway.upstream.own_pool.known_heads import KnownHead, KnownHeads
from perhop.gateway.upstream.own_pool.reader import Reader

BUFFER_BYTES = 64 * 1024
"""With more of a body than this that nobody has taken, nothing more is read."""


class Connection(asyncio.Protocol):
    """`freed` is called when an answer has ended and the next call may come, `lost` when the connection is gone.

    `heads` are those that came from the same upstream before.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        freed: Callable[[Connection], None],
        lost: Callable[[Connection], None],
        heads: KnownHeads,
    ) -> None:
        self._loop = loop
        self._freed = freed
        self._lost = lost
        self._heads = heads
        self._reader = Reader()
        # False until something came of the answer that is not all of it, with a head that is known.
        self._is_reading = False
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        self.idle_since = 0.0

    # What its pool does.

    def ask(self, request: bytes, deadline: float) -> Answer:
        """Send a request. The head of its answer has to come before the loop's clock shows `deadline`.

        Raises: ConnectionResetError if it is closed; then nothing was sent
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection was closed before anything was sent")
        # INVARIANT: one call at a time. Answers are told apart by nothing but their order.
        if self._answer is not None:
            raise RuntimeError("the connection carries a call already")
        answer = self._answer = Answer(self._loop, self)
        self._is_reading = False
        self._deadline = deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look_at_the_clock)
        transport.write(request)
        return answer

    # What its answer does, and its pool.

    def drop(self) -> None:
        """Close it at once. An answer that is on its way fails."""
        self._fail(UpstreamUnavailable("upstream: the connection was closed here"))

    def resume(self) -> None:
        """Go on reading: the pieces of the answer were taken."""
        if self._is_paused:
            self._is_paused = False
            if self._transport is not None:
                self._transport.resume_reading()

    # What its transport does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._reader.has_tls = transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            # Nobody has asked: a farewell, or an answer to what was not sent. No call may find it here.
            self.drop()
            return
        reader, is_first = self._reader, not self._is_reading
        if is_first:
            found = self._heads.find(data)
            if found is not None:
                (status, headers, keeps_alive), body = found
                self._answer = None
                answer.come(status, headers, body)
                self._let_go(keeps_alive)
                return
            reader.expect(answer)
            self._is_reading = True
        try:
            reader.feed(data)
        except UpstreamUnavailable as failure:
            self._fail(failure)
            return
        if reader.is_whole:
            if is_first and reader.is_plain:
                self._heads.learn(data, KnownHead(answer.status, answer.headers, reader.may_go_on))
            self._answer = None
            answer.end()
            self._let_go(reader.may_go_on)
        elif answer.size > BUFFER_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The other end sends nothing more. A request that it may still read has no answer: this end closes, too."""
        self._end_of_stream()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if error is None:
            self._end_of_stream()
        self._fail(UpstreamUnavailable("upstream: the connection broke"))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._lost(self)

    def _let_go(self, may_go_on: bool) -> None:
        """The answer is whole: free for the next call, if nothing speaks against it."""
        transport = self._transport
        if transport is None:
            return
        if transport.get_write_buffer_size():
            # It was answered before the request was there: what is left of it would stand before the next one.
            transport.abort()
        elif may_go_on and not transport.is_closing():
            if self._is_paused:
                self.resume()
            self._freed(self)
        else:
            transport.close()

    def _end_of_stream(self) -> None:
        answer = self._answer
        if answer is None:
            return
        if self._is_reading and self._reader.ends_with_the_connection():
            self._answer = None
            answer.end()
        else:
            self._fail(UpstreamUnavailable("upstream: the connection ended before the answer"))

    def _fail(self, failure: Failure) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail(failure)
        if self._transport is not None:
            self._transport.abort()

    def _look_at_the_clock(self) -> None:
        self._timer = None
        answer = self._answer
        if answer is None or answer.status:
            return
        if self._loop.time() < self._deadline:
            # Set for an earlier call: one timer serves all that come while it runs.
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_clock)
        else:
            self._fail(AnswerTooLong("the head of the answer did not come in time"))
