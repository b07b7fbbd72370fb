"""One exchange with an authorization server: how long it may take."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from perhop.client.fetch import fetch
from perhop.errors import IssuerUnavailable
from perhop.resource_server.testing import throwaway_issuer
from perhop.rules.revocation import RevocationKind


async def test_a_poll_is_waited_for_beyond_the_patience_of_the_http_client() -> None:
    """An answer that is held for longer than the client's own time limit, and less than the caller's, is an answer."""
    async with throwaway_issuer() as issuer, httpx2.AsyncClient(timeout=0.1) as http:
        poll = http.build_request("GET", f"{issuer.url}/revocations?after=0&wait=0.5")
        answer = await fetch(http, poll, max_bytes=10_000, seconds=10)
    assert answer.status == 200


async def test_the_callers_limit_holds() -> None:
    """An answer that is held for longer than the caller waits is a failure of the issuer."""
    async with throwaway_issuer() as issuer, httpx2.AsyncClient(timeout=60) as http, asyncio.timeout(5):
        poll = http.build_request("GET", f"{issuer.url}/revocations?after=0&wait=10")
        with pytest.raises(IssuerUnavailable):
            await fetch(http, poll, max_bytes=10_000, seconds=0.1)
        issuer.revoke(RevocationKind.TOKEN, "whatever")
