"""A loopback proxy that adds a token to what passes and changes nothing else, since the suite cannot send one.

It copies bytes. Into the head of each request it puts one `Authorization` line; `Host`, `Origin`, every `Mcp-*` header,
sessions, bodies, streams and the closing of either side pass as they are. The token comes from our authorization
server, by client credentials, for the one resource behind the proxy. Every token that it presents is written down, so
that it can be looked for where it must not be.

    python -m conformance.shim --port 3911 --to 127.0.0.1:3912 --token-endpoint URL --resource URI --client ID:SECRET \\
        --presented FILE
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

_MAX_HEAD = 64 * 1024
_RENEW_BEFORE_S = 30.0
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]+)[ \t]*\r$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:[^\r]*chunked[ \t]*\r$")


@dataclass(slots=True)
class Tokens:
    """The current token for one resource, renewed before it expires."""

    endpoint: str
    resource: str
    client_id: str
    client_secret: str
    presented: Path
    _token: str = ""
    _until: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self) -> str:
        """A token with some life left. Raises: httpx2.HTTPError when the authorization server gives none."""
        async with self._lock:
            if time.monotonic() > self._until - _RENEW_BEFORE_S:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        form = {"grant_type": "client_credentials", "resource": self.resource}
        async with httpx2.AsyncClient() as http:
            answer = await http.post(self.endpoint, data=form, auth=(self.client_id, self.client_secret))
        answer.raise_for_status()
        issued = answer.json()
        self._token = issued["access_token"]
        with self.presented.open("a", encoding="ascii") as file:
            file.write(f"{self._token}\n")
        self._until = time.monotonic() + float(issued["expires_in"])


@dataclass(frozen=True, slots=True)
class Shim:
    """Where requests go, and whose token they carry."""

    host: str
    port: int
    tokens: Tokens

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the suite: one connection to the gateway, both closed with the first that ends."""
        try:
            there_reader, there_writer = await asyncio.open_connection(self.host, self.port, limit=_MAX_HEAD)
        except OSError:
            writer.close()
            return
        ways = {
            asyncio.create_task(self._requests(reader, there_writer)),
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

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            writer.write(with_token(head, await self.tokens.current()))
            await _body(head, reader, writer)
            await writer.drain()


def with_token(head: bytes, token: str) -> bytes:
    """The request head with an `Authorization` line right after the request line, all else byte for byte."""
    request_line, separator, rest = head.partition(b"\r\n")
    return request_line + separator + b"Authorization: Bearer " + token.encode("ascii") + b"\r\n" + rest


async def _body(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if _CHUNKED.search(head):
        await _chunks(reader, writer)
    elif length := _LENGTH.search(head):
        writer.write(await reader.readexactly(int(length[1])))


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = 1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        writer.write(line + (await reader.readexactly(size + 2) if size else b""))
    line = b""
    while line != b"\r\n":
        line = await reader.readuntil(b"\r\n")
        writer.write(line)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(_MAX_HEAD):
        writer.write(block)
        await writer.drain()


async def run(shim: Shim, port: int) -> None:
    """Serve until cancelled."""
    server = await asyncio.start_server(shim.serve, "127.0.0.1", port, limit=_MAX_HEAD)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the command line and serve until ended."""
    parser = argparse.ArgumentParser(description="a loopback proxy that adds a token")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the gateway, or the guarded server")
    parser.add_argument("--token-endpoint", required=True)
    parser.add_argument("--resource", required=True, help="what the token is for")
    parser.add_argument("--client", required=True, metavar="ID:SECRET")
    parser.add_argument("--presented", required=True, type=Path, metavar="FILE", help="gets every token, one a line")
    options = parser.parse_args()
    client_id, _, secret = options.client.partition(":")
    host, _, port = options.to.rpartition(":")
    tokens = Tokens(options.token_endpoint, options.resource, client_id, secret, options.presented)
    with suppress(KeyboardInterrupt):
        asyncio.run(run(Shim(host, int(port), tokens), options.port))


if __name__ == "__main__":
    main()
