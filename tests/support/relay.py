"""A relay before a server that keeps every byte which is sent to the server, on disk, one file a connection.

It stands between the gateway and its upstream, and changes nothing. What it kept is read by `tests.support.recordings`.

    python -m tests.support.relay --port 3911 --to 127.0.0.1:3912 --record FOLDER
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.support.processes import LOOPBACK, free_port, started
from tests.support.recordings import FULL, Recordings
from tests.support.sources import ROOT

MAX_BYTES = 256 * 1024 * 1024
_BLOCK = 64 * 1024


@dataclass(slots=True)
class Relay:
    """Where bytes go, where they are kept, and how many may be. What is not kept does not pass."""

    host: str
    port: int
    folder: Path
    max_bytes: int = MAX_BYTES
    _kept: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What a listener calls for each connection; `close` ends them."""
        serving = asyncio.create_task(self.serve(reader, writer))
        self._open.add(serving)
        serving.add_done_callback(self._open.discard)

    async def close(self) -> None:
        """End every connection."""
        for serving in self._open:
            serving.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to the server for one to us, both closed with the first that ends."""
        try:
            there_reader, there_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        ways = {
            asyncio.create_task(self._keep(reader, there_writer)),
            asyncio.create_task(_copy(there_reader, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, there_writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with (self.folder / f"{next(self._numbers):06d}").open("wb", buffering=0) as record:
            while block := await reader.read(_BLOCK):
                self._kept += len(block)
                if self._kept > self.max_bytes:
                    (self.folder / FULL).touch()
                    return
                record.write(block)
                writer.write(block)
                await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(_BLOCK):
        writer.write(block)
        await writer.drain()


@dataclass(frozen=True, slots=True)
class Relayed:
    """A server behind a relay: where to reach it, and what it was sent."""

    url: str
    recordings: Recordings


@asynccontextmanager
async def relaying(url: str, folder: Path) -> AsyncIterator[Relayed]:
    """A relay before the server at this URL, on the running event loop."""
    folder.mkdir(parents=True)
    place = urlsplit(url)
    relay = Relay(place.hostname or LOOPBACK, place.port or 80, folder)
    server = await asyncio.start_server(relay.connect, LOOPBACK, 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Relayed(urlunsplit(place._replace(netloc=f"{LOOPBACK}:{port}")), Recordings(folder))
    finally:
        server.close()
        await relay.close()


@contextmanager
def relayed(url: str, folder: Path) -> Iterator[Relayed]:
    """A relay before the server at this URL, as a process of its own."""
    folder.mkdir(parents=True)
    place, port = urlsplit(url), free_port()
    words = ["--port", str(port), "--to", place.netloc, "--record", str(folder)]
    with started([sys.executable, "-m", "tests.support.relay", *words], ports=[port], folder=ROOT):
        yield Relayed(urlunsplit(place._replace(netloc=f"{LOOPBACK}:{port}")), Recordings(folder))


async def _run(relay: Relay, port: int) -> None:
    async with await asyncio.start_server(relay.connect, LOOPBACK, port) as server:
        await server.serve_forever()


def main() -> None:
    """Read the command line and relay until ended."""
    parser = argparse.ArgumentParser(description="a relay that keeps what is sent to a server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument("--record", type=Path, required=True, metavar="FOLDER", help="an empty folder")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(Relay(host, int(port), options.record), options.port))


if __name__ == "__main__":
    main()
