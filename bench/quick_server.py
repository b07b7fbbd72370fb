"""Answers every request at once with the same 1 KB: `python -m bench.quick_server CORE`. For `bench.pools`.

Prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import cast

import httptools
import uvloop

_BODY = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"' + 940 * b"x" + b'"}]}}'
_HEAD = b"HTTP/1.1 200 OK\r\ndate: Thu, 26 Nov 2026 12:00:00 GMT\r\nserver: quick\r\ncontent-type: application/json\r\n"
_ANSWER = _HEAD + b"content-length: %d\r\n\r\n" % len(_BODY) + _BODY


class _Quick(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(_ANSWER)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Quick, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    uvloop.run(_serve())
