"""Streams that are opened and then held, each on a connection of its own, in a process of its own on the load's core.

`python -m bench.held_streams`, told by JSON on its stdin; it says when all are open, and holds them until stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from bench.load import Ask, LoadFailed, rendered
from bench.processes import LOAD_CORE, pinned

AT_ONCE = 64
"""Streams that are being opened at the same time."""


@contextmanager
def held(ask: Ask, count: int) -> Iterator[float]:
    """So many streams while the block runs; the seconds that it took to open them.

    Raises: LoadFailed if one does not open.
    """
    asks = [each.decode("latin-1") for each in rendered(ask)]
    command = [*pinned(LOAD_CORE), sys.executable, "-m", "bench.held_streams"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdin.write(json.dumps({"url": ask.url, "asks": asks, "count": count}) + "\n")
        process.stdin.flush()
        opened = process.stdout.readline()
        if not opened:
            raise LoadFailed(process.stderr.read()[-1000:])
        yield float(opened)
        if process.poll() is not None:
            raise LoadFailed(f"streams ended while they were held: {process.stderr.read()[-1000:]}")
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()
        process.stderr.close()


async def _hold(url: str, asks: list[bytes], count: int) -> None:
    address, turn = urlsplit(url), asyncio.Semaphore(AT_ONCE)
    began = time.perf_counter()

    async def opened(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with turn:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(asks[number % len(asks)])
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.partition(b"\r\n")[0] or b"text/event-stream" not in head.lower():
                raise LoadFailed(f"{url} answered {head[:300]!r}")
            await reader.readuntil(b"\n\n" if b"chunked" not in head.lower() else b"\n\r\n")
            return reader, writer

    streams = await asyncio.gather(*map(opened, range(count)))
    print(time.perf_counter() - began, flush=True)
    told = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    ends = [asyncio.create_task(reader.read()) for reader, _ in streams]
    done, _ = await asyncio.wait({told, *ends}, return_when=asyncio.FIRST_COMPLETED)
    if told not in done:
        raise LoadFailed("a stream ended")
    for _, writer in streams:
        writer.close()


if __name__ == "__main__":
    asked = json.loads(sys.stdin.readline())
    octets = [each.encode("latin-1") for each in asked["asks"]]
    asyncio.run(_hold(asked["url"], octets, asked["count"]))
