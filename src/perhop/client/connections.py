"""HTTP connections to authorization servers: one pool for each event loop, or the one that the caller brings."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

import httpx2


class Connections:
    """Gives the pool of the running event loop. A pool that the caller brought is never closed here."""

    def __init__(self, http: httpx2.AsyncClient | None = None) -> None:
        self._brought = http
        self._own: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()

    def http(self) -> httpx2.AsyncClient:
        """The pool to use now."""
        if self._brought is not None:
            return self._brought
        loop = asyncio.get_running_loop()
        http = self._own.get(loop)
        if http is None:
            http = self._own[loop] = httpx2.AsyncClient(follow_redirects=False)
        return http

    async def aclose(self) -> None:
        """Close the pool of the running event loop; the next use opens another."""
        http = self._own.pop(asyncio.get_running_loop(), None)
        if http is not None:
            await http.aclose()
