"""The connections to one upstream: those that carry a call, and those that wait for one.

As many are opened as there are calls at once: a cap would let a few open streams starve every call. Only how many
wait, and how long, is bounded.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass

import aiohappyeyeballs

from perhop.gateway.upstream.attempts import IDLE_CONNECTION_SECONDS
from perhop.gateway.upstream.own_pool.answer import Answer
from perhop.gateway.upstream.own_pool.connection import Connection
from perhop.gateway.upstream.own_pool.known_heads import KnownHeads

HAPPY_EYEBALLS_SECONDS = 0.25
"""Until the next address of a host is tried beside the one before (RFC 8305 §8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """How long a connection waits for a call, in seconds, and how many do."""

    seconds: float = IDLE_CONNECTION_SECONDS
    most: int = 256


class Pool:
    """Connections to one host and port, with TLS if there is a context for it. Made in a running event loop."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, bound: Idle) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._bound = bound
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._heads = KnownHeads()
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_retired = False
        self._empty = asyncio.Event()
        self._empty.set()

    def ask(self, request: bytes, now: float, deadline: float) -> Answer | None:
        """Send a request over the connection that became free last; None if none is. `now` is the loop's time."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if now - connection.idle_since < self._bound.seconds:
                try:
                    return connection.ask(request, deadline)
                except ConnectionResetError:
                    pass  # it is being closed, and nothing was sent
            connection.drop()
        return None

    async def open(self) -> Connection:
        """A new connection. The names in its certificate were checked.

        Raises: OSError
        """
        loop = self._loop
        addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        connected = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS, interleave=1
        )
        name = self._host.rstrip(".") if self._tls is not None else None
        _, connection = await loop.create_connection(
            lambda: Connection(loop, freed=self._on_freed, lost=self._on_lost, heads=self._heads),
            sock=connected,
            ssl=self._tls,
            server_hostname=name,
        )
        self._all.add(connection)
        self._empty.clear()
        return connection

    def retire(self) -> None:
        """Keep no connection any more; those that carry a call are closed when its answer has ended."""
        self._is_retired = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.drop()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    async def emptied(self) -> None:
        """Return when no connection is left."""
        await self._empty.wait()

    def drop_all(self) -> None:
        """End what still runs."""
        for connection in list(self._all):
            connection.drop()

    def _on_freed(self, connection: Connection) -> None:
        if self._is_retired or len(self._idle) >= self._bound.most:
            connection.drop()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._bound.seconds, self._drop_old)

    def _on_lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._all:
            self._empty.set()

    def _drop_old(self) -> None:
        """Those that became free first are the first of the list."""
        self._sweep = None
        now, old = self._loop.time(), 0
        while old < len(self._idle) and now - self._idle[old].idle_since >= self._bound.seconds:
            old += 1
        dropped, self._idle = self._idle[:old], self._idle[old:]
        for connection in dropped:
            connection.drop()
        if self._idle:
            due = self._idle[0].idle_since + self._bound.seconds
            self._sweep = self._loop.call_at(due, self._drop_old)
