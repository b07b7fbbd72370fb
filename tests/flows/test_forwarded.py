"""Forwarded headers count from listed proxies only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from perhop.serving.listeners import listening
from tests.support.processes import free_port


async def _address_of_caller(asgi_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": asgi_scope["client"][0].encode()})


@pytest.mark.parametrize(
    ("believed", "seen"),
    [
        ((), "127.0.0.1"),
        (("10.0.0.0/8",), "127.0.0.1"),
        (("127.0.0.1/32",), "198.51.100.7"),
        (("127.0.0.0/8", "203.0.113.0/24"), "198.51.100.7"),
    ],
)
async def test_a_forwarded_address_counts_from_a_listed_proxy_only(believed: Sequence[str], seen: str) -> None:
    """The caller's address is the socket's unless the socket's is that of a proxy that is believed."""
    address = f"127.0.0.1:{free_port()}"
    async with listening({address: _address_of_caller}, forwarded_from=believed), httpx2.AsyncClient() as http:
        answer = await http.get(f"http://{address}/", headers={"x-forwarded-for": "198.51.100.7"})
    assert answer.text == seen
