"""Answers that HTTP or MCP does not allow, as they come over the wire: 503, and the journal says whose fault it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from perhop.core.resource import UpstreamPool
from perhop.serving.listeners import listening
from tests.support.gateways import World, gateway
from tests.support.processes import LOOPBACK, free_port
from tests.support.raw_upstreams import RawServer, raw_server
from tests.support.upstreams import legacy

BODY = b'{"jsonrpc":"2.0","id":1,"result":{}}'
UNFIT = {
    "a session id beyond ASCII": b"HTTP/1.1 200 OK\r\nmcp-session-id: a\xffb\r\n",
    "a media type beyond latin-1": b"HTTP/1.1 200 OK\r\ncontent-type: application/json; x=\xe2\x82\xac\r\n",
    "a time to wait beyond latin-1": b"HTTP/1.1 429 Later\r\nretry-after: \xe2\x82\xac\r\n",
    "two media types": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-type: text/event-stream\r\n",
    "a media type beside a charset": (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-type: application/json; charset=utf-16\r\n"
    ),
    "a status that there is not": b"HTTP/1.1 600 X\r\n",
    "the last of these": b"HTTP/1.1 999 X\r\n",
}


@asynccontextmanager
async def _answering(head: bytes, pool: UpstreamPool, folder: Path) -> AsyncIterator[World]:
    async def answer(raw: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await raw.take(reader)
            writer.write(head + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
            await writer.drain()

    async with raw_server(answer) as (url, _), gateway(folder, upstream_url=url, pool=pool) as world:
        yield world


@pytest.mark.parametrize("pool", list(UpstreamPool))
@pytest.mark.parametrize("head", UNFIT.values(), ids=UNFIT)
async def test_what_cannot_go_on_to_the_caller_is_the_upstreams_fault(
    tmp_path: Path, head: bytes, pool: UpstreamPool
) -> None:
    """Whichever pool read it: the caller is told, and the call has not ended because the caller went away."""
    if b"content-type" not in head:
        head += b"content-type: application/json\r\n"
    port = free_port()
    headers, body = legacy("tools/call", {"name": "echo", "arguments": {"text": "a"}})
    async with _answering(head, pool, tmp_path) as world, listening({f"{LOOPBACK}:{port}": world.app}, drain=1):
        async with httpx2.AsyncClient() as http:
            url = f"http://{LOOPBACK}:{port}/mcp/calendar"
            answer = await http.post(url, headers=headers | world.bearer(), content=body)
        last = (await world.records(2))[-1]
    if b"\xe2" in head and pool is UpstreamPool.OWN:
        assert answer.status_code in (200, 429)  # read as latin-1, which it is fit to go on in
        return
    assert answer.status_code == 503
    assert (last["event"], last["result"]["error"]) == ("call.ended", "upstream.unavailable")
