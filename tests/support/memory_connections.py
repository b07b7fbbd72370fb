"""A connection of the own pool over octets in memory: what comes, and in which pieces, is the test's to say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from perhop.core.call import Headers
from perhop.errors import AnswerTooLong, UpstreamUnavailable
from perhop.gateway.upstream.own_pool.answer import Answer
from perhop.gateway.upstream.own_pool.connection import Connection
from perhop.gateway.upstream.own_pool.known_heads import KnownHeads


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; closing it loses the connection at once."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._is_closing = False
        self.written: list[bytes] = []
        self.unsent = 0
        self.reads = True
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._protocol.connection_lost(None)

    def abort(self) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a caller got: `failure` is the name of the error's class, and where it came; empty for a whole answer."""

    status: int
    headers: Headers
    body: bytes
    failure: str


class MemoryConnection:
    """A connection that counts how often it became free. Knows no heads, or these."""

    def __init__(self, loop: asyncio.AbstractEventLoop, heads: KnownHeads | None = None) -> None:
        self._loop = loop
        self.freed = 0
        self.is_lost = False
        self.connection = Connection(loop, freed=self._on_freed, lost=self._on_lost, heads=heads or KnownHeads())
        self.transport = MemoryTransport(self.connection)

    def ask(self) -> Answer:
        """Send a request whose answer has a minute."""
        return self.connection.ask(b"GET / HTTP/1.1\r\n\r\n", self._loop.time() + 60)

    def receive(self, pieces: Iterable[bytes]) -> None:
        """Octets come, until the connection is closed."""
        for piece in pieces:
            if piece and not self.transport.is_closing():
                self.connection.data_received(piece)

    def end(self) -> None:
        """The other end sends nothing more, and this end closes, as a transport does."""
        if not self.transport.is_closing():
            self.connection.eof_received()
            self.transport.close()

    def _on_freed(self, connection: Connection) -> None:
        self.freed += 1

    def _on_lost(self, connection: Connection) -> None:
        self.is_lost = True


async def outcome_of(answer: Answer) -> Outcome:
    """Read an answer to its end. Any error but the two declared ones comes through."""
    body, failure = bytearray(), ""
    try:
        await answer.arrival
        async for chunk in answer:
            body += chunk
    except (UpstreamUnavailable, AnswerTooLong) as error:
        failure = f"{type(error).__name__} {'in the body' if answer.status else 'in the head'}"
    return Outcome(status=answer.status, headers=answer.headers, body=bytes(body), failure=failure)
