"""One HTTP exchange with an authorization server, trusting nothing that comes back.

No redirect is followed, no credentials of the HTTP client itself are sent, size and time are capped, and nothing is
decompressed, so that what is capped is what is read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2

from perhop.errors import IssuerUnavailable

MAX_DOCUMENT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status. The body does not print: it may hold a token."""

    status: int
    headers: httpx2.Headers
    body: bytes = field(repr=False)


async def fetch(
    http: httpx2.AsyncClient,
    request: httpx2.Request,
    *,
    max_bytes: int,
    seconds: float,
    auth: httpx2.Auth | None = None,
) -> Answer:
    """Send one request, with a token if `auth` brings one, and read its whole answer. Does not look at the status.

    `seconds` is the one limit: a poll that the server holds for longer than the HTTP client's own patience is no
    failure.

    Raises: IssuerUnavailable
    """
    request.headers["accept-encoding"] = "identity"
    request.extensions["timeout"] = httpx2.Timeout(seconds).as_dict()
    try:
        async with asyncio.timeout(seconds):
            response = await http.send(request, stream=True, auth=auth, follow_redirects=False)
            try:
                body = await _read(response, max_bytes)
            finally:
                await response.aclose()
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, TimeoutError) as error:
        raise IssuerUnavailable(f"{request.url}: {type(error).__name__}: {error}") from error
    return Answer(response.status_code, response.headers, body)


def why_unreachable(failure: Exception, *, seconds: float) -> str:
    """Why nothing came back within `seconds`, in words, as far as the network said."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not believed: {cause.verify_message}"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing answers there"
        if isinstance(cause, TimeoutError | httpx2.TimeoutException):
            return f"it did not answer within {seconds:g} s"
        cause = cause.__cause__ or cause.__context__
    return str(failure).rpartition(": ")[2] or type(failure).__name__


async def _read(response: httpx2.Response, max_bytes: int) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise IssuerUnavailable(f"{response.url}: an encoding that was not asked for")
    # A transport that is no network may have the whole answer at hand already.
    chunks = _at_hand(response) if response.is_stream_consumed else response.aiter_raw()
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise IssuerUnavailable(f"{response.url}: longer than {max_bytes} bytes")
    return bytes(body)


async def _at_hand(response: httpx2.Response) -> AsyncIterator[bytes]:
    yield response.content
