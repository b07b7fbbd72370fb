"""An upstream over streamable HTTP: one pooled client session, no cookies, no redirects, no decompression.

Spec: MCP 2026-07-28 transports
Spec: RFC 9110 §7.6
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from perhop.core.call import Headers
from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.interface import UpstreamReply

CONNECT_SECONDS = 5.0
IDLE_CONNECTION_SECONDS = 3.0
"""Shorter than common servers keep a connection: a request is not sent into one that is just being closed."""

_NEVER_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


def open_session() -> aiohttp.ClientSession:
    """The client session that all upstreams of a process share. Closed by whoever opened it."""
    return aiohttp.ClientSession(
        # A cap on connections would let a few open streams starve every call.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=None),
        auto_decompress=False,
        skip_auto_headers=_NEVER_ADDED,
        trust_env=False,
    )


class HttpUpstream:
    """One upstream at one address; nothing of a request chooses where it goes."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = URL(url, encoded=True)
        self._session = session

    async def send(self, http_method: str, headers: Headers, body: bytes) -> UpstreamReply:
        """Send one request and return when the head of its answer has come.

        Raises: UpstreamUnavailable
        """
        try:
            response = await self._session.request(
                http_method,
                self._url,
                headers=CIMultiDict(headers),
                data=body if http_method == "POST" else None,
                allow_redirects=False,
            )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise UpstreamUnavailable(f"upstream: {type(error).__name__}") from error
        return UpstreamReply(
            status=response.status,
            headers=tuple((name.lower(), value) for name, value in response.headers.items()),
            chunks=_chunks(response),
            close=_closing(response),
        )


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
