"""An upstream over streamable HTTP: one pooled client session, no cookies, no redirects, no decompression, no proxy.

A call is sent a second time only if no connection came about, so that nothing of it can have arrived: MCP calls may
not be repeated, and a call token is good once. A connection of the pool that was closed meanwhile is noticed before
it is used; one that breaks after that may have carried the call, and the caller is told.

Spec: MCP 2026-07-28 transports
Spec: RFC 9110 §7.6
Spec: RFC 9110 §9.2.2
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from perhop.core.call import Headers
from perhop.core.token import BoundToken
from perhop.errors import AnswerTooLong, UpstreamUnavailable
from perhop.gateway.upstream.attempts import IDLE_CONNECTION_SECONDS, SECOND_TRY_SECONDS, Attempts, Patience
from perhop.gateway.upstream.interface import OF_THE_BODY, UpstreamReply, UpstreamState
from perhop.rules.mcp_methods import Era

_NEVER_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


def open_session() -> aiohttp.ClientSession:
    """The client session that all upstreams of a process share. Closed by whoever opened it."""
    session = aiohttp.ClientSession(
        # A cap on connections would let a few open streams starve every call.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_NEVER_ADDED,
        trust_env=False,
    )
    # It would send a GET or DELETE a second time that broke off in a connection of the pool, token and all.
    session._retry_connection = False
    return session


class HttpUpstream:
    """One upstream at one address; nothing of a request chooses where it goes."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        patience: Patience = Patience(),
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = URL(url, encoded=True)
        self._session = session
        self._tls: ssl.SSLContext | bool = tls or True
        self._timeout = aiohttp.ClientTimeout(total=None, connect=patience.connect, sock_connect=patience.connect)
        self._answer_seconds = patience.answer
        self._attempts = Attempts(patience, clock=clock, monotonic=monotonic)

    @property
    def state(self) -> UpstreamState:
        return self._attempts.state

    @property
    def eras(self) -> frozenset[Era]:
        """Nothing is known: what a server over HTTP speaks, only its answers show."""
        return frozenset()

    async def close(self, *, within: float = 0.0) -> None:
        """Nothing to close: connections are the session's, and a call on its way ends by itself."""

    async def send(
        self, http_method: str, headers: Headers, body: bytes, own: Headers = (), _caller: BoundToken | None = None
    ) -> UpstreamReply:
        """Send one request and return when the head of its answer has come.

        Raises: UpstreamUnavailable, AnswerTooLong
        """
        attempt = self._attempts.admit()
        try:
            async with asyncio.timeout(self._answer_seconds):
                response = await self._request(http_method, (*headers, *own), body)
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            self._attempts.failed(attempt, type(error).__name__)
            raise _unavailable(error) from error
        except ValueError as error:
            # What cannot be written as a request says nothing of the upstream.
            self._attempts.abandoned(attempt)
            raise UpstreamUnavailable(f"upstream: {type(error).__name__}") from error
        except BaseException:
            self._attempts.abandoned(attempt)
            raise
        reply = UpstreamReply(
            status=response.status,
            headers=tuple(
                [(name, value) for each, value in response.headers.items() if (name := each.lower()) not in OF_THE_BODY]
            ),
            chunks=_chunks(response),
            close=_closing(response),
        )
        self._attempts.answered(attempt, reply)
        return reply

    async def _request(self, http_method: str, headers: Headers, body: bytes) -> aiohttp.ClientResponse:
        try:
            return await self._request_once(http_method, headers, body)
        except aiohttp.ClientSSLError:
            raise
        except aiohttp.ClientConnectorError:
            # There was no connection, so nothing of the request has left us.
            await asyncio.sleep(SECOND_TRY_SECONDS)
            return await self._request_once(http_method, headers, body)

    async def _request_once(self, http_method: str, headers: Headers, body: bytes) -> aiohttp.ClientResponse:
        return await self._session.request(
            http_method,
            self._url,
            headers=CIMultiDict([(name, _as_written(value)) for name, value in headers]),
            data=body if http_method == "POST" else None,
            allow_redirects=False,
            timeout=self._timeout,
            ssl=self._tls,
        )


def _as_written(value: str) -> str:
    """The text that the library, which writes UTF-8, writes as the octets of this value. Any others it cannot write."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except ValueError:
        return value


def _unavailable(error: Exception) -> UpstreamUnavailable | AnswerTooLong:
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return AnswerTooLong("the head of the answer did not come in time")
    return UpstreamUnavailable(f"upstream: {type(error).__name__}")


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise UpstreamUnavailable(f"upstream: {type(error).__name__}") from error


class _closing:
    """Ends an answer: a connection whose body was read to its end goes back to the pool, any other is closed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __call__(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
