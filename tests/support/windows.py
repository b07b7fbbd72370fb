"""A browser's window as `PersonsBrowser` sees it: what it was told to open, and what a test does there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx2

from perhop.client import PersonsBrowser

URL = "https://auth.example.com/authorize?x=1"
STATE = "our-state"


async def come_back(act: Callable[[httpx2.AsyncClient, str], Awaitable[object]]) -> str:
    """The query that is taken for the answer to a request with this state, when this is done at the address."""
    opened: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def open_url(url: str) -> bool:
        loop.call_soon_threadsafe(opened.put_nowait, url)
        return True

    browser = PersonsBrowser(open_url=open_url)
    async with browser.receiving(None) as receiver, httpx2.AsyncClient() as http:
        awaited = asyncio.create_task(receiver.answer_to(URL, STATE))
        assert await opened.get() == URL
        await act(http, receiver.redirect_uri)
        return await awaited
