"""What a running server tells of its tools when it is asked without a token.

It may tell anything, at any length and pace: how long it is waited for and how much of it is read is bounded here.
What of it can be written in a scope is looked at in `perhop.founding.first_tools`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from perhop.core.call import Headers
from perhop.core.token import BoundToken
from perhop.errors import Refused, Unavailable, UpstreamUnavailable
from perhop.gateway.tool_listing import Outcome, list_tools, present_nothing
from perhop.gateway.upstream.http import HttpUpstream, open_session
from perhop.gateway.upstream.interface import UpstreamReply

PATIENCE_SECONDS = 10.0
MAX_TOLD_BYTES = 16 * 1024 * 1024
"""Of all answers together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a server told: its tools as it wrote them, and why there are none if there are none."""

    definitions: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""
    wants_token: bool = False


AskServer = Callable[[str], Awaitable[Told]]
"""Asks the server at this URL."""


async def ask_nobody(_url: str) -> Told:
    """For a founding that looks at nothing but the folder."""
    return Told(problem="it was not asked")


async def ask_server(url: str, *, seconds: float = PATIENCE_SECONDS, tls: ssl.SSLContext | None = None) -> Told:
    """Ask for the tools, as a client of either era. Never raises for what a server does or leaves undone."""
    session = open_session()
    asking = _BoundedUpstream(HttpUpstream(url, session, tls=tls))
    try:
        async with asyncio.timeout(seconds):
            listing = await list_tools(asking, present_nothing)
    except TimeoutError:
        return Told(problem=f"it gave no list of its tools within {seconds:g} s")
    except (Unavailable, Refused) as failure:
        return Told(problem=asking.problem or failure.detail or failure.description)
    finally:
        await session.close()
    if listing.outcome is Outcome.REFUSED:
        return Told(problem="it wants a token already (401)", wants_token=True)
    if listing.outcome is Outcome.UNCLEAR:
        return Told(problem=f"it answered {asking.status}, and gave no list of its tools")
    definitions = tuple(each for each in listing.tools if isinstance(each, dict))
    return Told(definitions=definitions, problem="" if definitions else "it lists no tool")


class _BoundedUpstream:
    """A way to a server that is read so far and no further."""

    def __init__(self, way: HttpUpstream) -> None:
        self._way = way
        self._left = MAX_TOLD_BYTES
        self.status = 0
        self.problem = ""

    async def send(
        self, http_method: str, headers: Headers, body: bytes, own: Headers = (), caller: BoundToken | None = None
    ) -> UpstreamReply:
        try:
            reply = await self._way.send(http_method, headers, body, own, caller)
        except UpstreamUnavailable as failure:
            self.problem = _in_words(failure)
            raise
        self.status = reply.status
        chunks = self._counted(reply.chunks)
        return UpstreamReply(status=reply.status, headers=reply.headers, chunks=chunks, close=reply.close)

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self._left -= len(chunk)
            if self._left < 0:
                self.problem = f"it tells more than {MAX_TOLD_BYTES // (1024 * 1024)} MiB"
                raise UpstreamUnavailable(self.problem)
            yield chunk


def _in_words(failure: UpstreamUnavailable) -> str:
    cause = failure.__cause__
    match cause:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "its certificate is not one that this machine believes"
        case aiohttp.ClientConnectorDNSError():
            return "its name leads nowhere"
        case aiohttp.ClientConnectorError():
            return "nothing answers there"
        case _:
            return failure.detail
