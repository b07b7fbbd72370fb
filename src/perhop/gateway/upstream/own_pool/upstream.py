"""An upstream over streamable HTTP, by connections of our own: what `gateway/upstream/http.py` does by a library.

A call is sent a second time only if no connection came about, so that nothing of it can have arrived: MCP calls may
not be repeated, and a call token is good once. Redirects are not followed; there are no cookies, no decompression and
no proxy.

Spec: MCP 2026-07-28 transports
Spec: RFC 9110 §7.6
Spec: RFC 9110 §9.2.2
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

from yarl import URL

from perhop.core.call import Headers
from perhop.core.token import BoundToken
from perhop.errors import AnswerTooLong, UpstreamUnavailable
from perhop.gateway.upstream.attempts import SECOND_TRY_SECONDS, Attempts, Patience
from perhop.gateway.upstream.interface import UpstreamReply, UpstreamState
from perhop.gateway.upstream.own_pool.answer import Answer
from perhop.gateway.upstream.own_pool.connection import Connection
from perhop.gateway.upstream.own_pool.pool import Idle, Pool
from perhop.gateway.upstream.own_pool.request import RequestForm
from perhop.rules.mcp_methods import Era


class OwnHttpUpstream:
    """One upstream at one address; nothing of a request chooses where it goes. Made in a running event loop."""

    def __init__(
        self,
        url: str,
        *,
        patience: Patience = Patience(),
        tls: ssl.SSLContext | None = None,
        idle: Idle = Idle(),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        parsed = URL(url, encoded=True)
        if parsed.scheme not in ("http", "https") or parsed.raw_host is None or parsed.port is None:
            raise ValueError("an upstream over HTTP has an http or https URL")
        self._form = RequestForm(parsed)
        self._pool = Pool(parsed.raw_host, parsed.port, _tls(tls) if parsed.scheme == "https" else None, idle)
        self._patience = patience
        self._attempts = Attempts(patience, clock=clock, monotonic=monotonic)
        self._loop = asyncio.get_running_loop()
        self._closes_at = float("inf")

    @property
    def state(self) -> UpstreamState:
        return self._attempts.state

    @property
    def eras(self) -> frozenset[Era]:
        """Nothing is known: what a server over HTTP speaks, only its answers show."""
        return frozenset()

    async def close(self, *, within: float = 0.0) -> None:
        """Keep no connection, let what runs end for so many seconds, then end it. May be called more than once.

        Calls that were let through just before still go out in that time, each over a connection of its own.
        """
        self._closes_at = min(self._closes_at, self._loop.time() + within)
        self._pool.retire()
        try:
            async with asyncio.timeout(within):
                await self._pool.emptied()
        except TimeoutError:
            self._pool.drop_all()
            await self._pool.emptied()

    async def send(
        self, http_method: str, headers: Headers, body: bytes, own: Headers = (), _caller: BoundToken | None = None
    ) -> UpstreamReply:
        """Send one request and return when the head of its answer has come.

        Raises: UpstreamUnavailable, AnswerTooLong
        """
        attempt = self._attempts.admit()
        try:
            request = self._form.render(http_method, headers, body, own)
            now = self._loop.time()
            deadline = now + self._patience.answer
            answer = self._pool.ask(request, now, deadline) or await self._ask_anew(request, deadline)
            try:
                await answer.arrival
            except BaseException:
                answer.abandon()
                raise
            if answer.failure is not None and not answer.status:
                raise answer.failure
        except (UpstreamUnavailable, AnswerTooLong) as failure:
            self._attempts.failed(attempt, failure.detail.removeprefix("upstream: "))
            raise
        except OSError as error:  # a refused certificate is one, too
            self._attempts.failed(attempt, type(error).__name__)
            raise UpstreamUnavailable(f"upstream: {type(error).__name__}") from error
        except ValueError as error:
            # What cannot be written as a request says nothing of the upstream.
            self._attempts.abandoned(attempt)
            raise UpstreamUnavailable(f"upstream: {type(error).__name__}") from error
        except BaseException:
            self._attempts.abandoned(attempt)
            raise
        reply = UpstreamReply(
            status=answer.status, headers=answer.headers, chunks=answer, close=answer.close, whole=answer.whole
        )
        self._attempts.answered(attempt, reply)
        return reply

    async def _ask_anew(self, request: bytes, deadline: float) -> Answer:
        """Over a new connection: what is on its way in another one is never waited for."""
        patience = asyncio.timeout_at(deadline)
        try:
            async with patience:
                return await self._open_and_ask(request, deadline)
        except TimeoutError as error:
            if not patience.expired():
                raise
            raise AnswerTooLong("no connection came about in time for an answer") from error

    async def _open_and_ask(self, request: bytes, deadline: float) -> Answer:
        try:
            return (await self._open()).ask(request, deadline)
        except ssl.SSLError:
            raise
        except OSError:
            # There was no connection, so nothing of the request has left us.
            await asyncio.sleep(SECOND_TRY_SECONDS)
            return (await self._open()).ask(request, deadline)

    async def _open(self) -> Connection:
        self._check_open()
        patience = asyncio.timeout(self._patience.connect)
        try:
            async with patience:
                connection = await self._pool.open()
        except TimeoutError as error:
            if not patience.expired():
                raise
            raise UpstreamUnavailable("upstream: no connection came about in time") from error
        try:
            self._check_open()
        except UpstreamUnavailable:
            connection.drop()
            raise
        return connection

    def _check_open(self) -> None:
        if self._loop.time() >= self._closes_at:
            raise UpstreamUnavailable("upstream: the way to it was closed")


def _tls(given: ssl.SSLContext | None) -> ssl.SSLContext:
    context = given or ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
