"""Work that goes on beside whatever else a server does, and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx2


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do this while the block runs; what is left of it at the end is cancelled, and waited for."""
    running = asyncio.create_task(work)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})


async def new_http() -> httpx2.AsyncClient:
    """A client that goes by no variable of the environment, believes this machine's certificates, follows nothing."""
    # It reads a file of many certificates, and needs nobody to wait for it.
    tls = await asyncio.to_thread(ssl.create_default_context)
    return httpx2.AsyncClient(trust_env=False, verify=tls, follow_redirects=False)
