"""Which pool the worlds of tests use for upstreams over HTTP: `PERHOP_TEST_POOL=own pytest ...` changes it for all.

Tests that are about one of the pools name it themselves. What is started or run by a command is told by the
environment, as an operator would do it.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from perhop.core.resource import UpstreamPool
from perhop.gateway.upstream.attempts import Patience
from perhop.gateway.upstream.http import HttpUpstream, open_session
from perhop.gateway.upstream.interface import OpenUpstream
from perhop.gateway.upstream.own_pool.upstream import OwnHttpUpstream

POOL = UpstreamPool(os.environ.get("PERHOP_TEST_POOL", UpstreamPool.AIOHTTP))


def pool_environment() -> dict[str, str]:
    """What a process of ours is told; nothing where the default is used."""
    return {} if POOL is UpstreamPool.AIOHTTP else {"PERHOP_UPSTREAM_POOL": POOL.value}


@asynccontextmanager
async def open_way(
    pool: UpstreamPool,
    url: str,
    *,
    patience: Patience = Patience(),
    tls: ssl.SSLContext | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[OpenUpstream]:
    """A way to a server at this URL; its connections end with the block."""
    if pool is UpstreamPool.OWN:
        way = OwnHttpUpstream(url, patience=patience, tls=tls, monotonic=monotonic)
        try:
            yield way
        finally:
            await way.close()
    else:
        async with open_session() as session:
            yield HttpUpstream(url, session, patience=patience, tls=tls, monotonic=monotonic)
