"""The running parts of federation, as one record: sign-ins under way, and what providers publish."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx2

from perhop.authorization_server.federation.attempts import Attempts
from perhop.authorization_server.federation.provider_documents import ProviderDocuments


class LazyHttp:
    """An HTTP client that is opened when it is first needed: a command that only looks opens none."""

    def __init__(self, opened: Callable[[], Awaitable[httpx2.AsyncClient]]) -> None:
        self._opened = opened
        self._http: httpx2.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def __call__(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._http is None:
                self._http = await self._opened()
            return self._http

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()


@dataclass(frozen=True, slots=True)
class Federation:
    """What is shared by every sign-in through a provider; which providers there are says the registry."""

    http: LazyHttp
    documents: ProviderDocuments
    attempts: Attempts = field(default_factory=Attempts)

    @classmethod
    def over(cls, http: LazyHttp, *, clock: Callable[[], float]) -> Federation:
        """Over this HTTP client, whose owner closes it."""
        return cls(http, ProviderDocuments(http, clock))
