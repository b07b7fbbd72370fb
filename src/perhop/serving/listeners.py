"""Listeners: one uvicorn server per address, in one event loop, started and drained together."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import uvicorn

from perhop.errors import OperatorError
from perhop.serving.http_protocol import BoundedHttpProtocol

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

DRAIN_SECONDS = 8.0
"""How long calls that run may still take after a stop was asked for, where nothing else is said."""

UNWIND_SECONDS = 2.0
"""For what was cancelled after that, to say so in the journal."""

MAX_CONNECTIONS = 20_000


class _QuietServer(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever started it, and waits for what it has cancelled."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(list(self.server_state.tasks), timeout=UNWIND_SECONDS)


UNIX = "unix:"
UNIX_MASK = 0o117
"""Mode 0660: owner and group may connect. The folder says which group that is."""


def bind(address: str) -> socket.socket:
    """A listening socket for `HOST:PORT`, `[V6]:PORT` included, or for `unix:PATH`; port 0 takes a free one.

    Raises: OperatorError
    """
    if address.startswith(UNIX):
        return _bind_unix(Path(address.removeprefix(UNIX)))
    host, _, port = address.rpartition(":")
    try:
        listener = socket.create_server(
            (host.strip("[]"), int(port)),
            family=socket.AF_INET6 if host.startswith("[") else socket.AF_INET,
            backlog=2048,
            reuse_port=False,
        )
    except OSError as error:
        raise OperatorError(
            f"cannot listen on {address}: {error.strerror}", advice="stop what holds the port, or change `listen`"
        ) from error
    # Connections take it over. asyncio's own loop does not see that they are TCP, and would let the body of an answer
    # wait until its head was acknowledged: forty milliseconds a request. Spec: RFC 1122 §4.2.3.4
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _bind_unix(path: Path) -> socket.socket:
    """Take the place of a socket at which nobody answers any more, and of nothing else."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(UNIX_MASK)
    try:
        if path.is_socket() and not _is_answered(path):
            path.unlink()
        listener.bind(str(path))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise OperatorError(
            f"cannot listen on `{path}`: {error.strerror}", advice="remove what is there, or change `listen`"
        ) from error
    finally:
        os.umask(mask)
    return listener


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        return caller.connect_ex(str(path)) == 0


@contextlib.asynccontextmanager
async def listening(
    apps: Mapping[str, AsgiApp],
    *,
    lifespan: Literal["on", "off"] = "off",
    forwarded_from: Sequence[str] = (),
    drain: float = DRAIN_SECONDS,
    connections: int = MAX_CONNECTIONS,
) -> AsyncIterator[None]:
    """Serve each application at its `HOST:PORT` while the block runs.

    At its end nobody new is let in, calls that run get `drain` seconds to end, and what is left then is cancelled.

    `forwarded_from` are the proxies whose `X-Forwarded-For` is believed: it changes the caller's address in the
    journal and in policy, and nothing else. From anybody else the header is ignored.

    Who comes while each listener has this number of `connections` is answered 503.

    Raises: OperatorError
    """
    with contextlib.ExitStack() as bound:
        sockets = [bound.enter_context(bind(address)) for address in apps]
        bound.pop_all()  # all or none: from here on each server closes its own
    servers = [_server(app, lifespan, forwarded_from, drain, connections) for app in apps.values()]
    running = [
        asyncio.create_task(server.serve(sockets=[listener])) for server, listener in zip(servers, sockets, strict=True)
    ]
    try:
        while not all(server.started for server in servers):
            for task in running:
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)
        yield
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*running, return_exceptions=True)
        for address in apps:
            if address.startswith(UNIX):
                Path(address.removeprefix(UNIX)).unlink(missing_ok=True)


def _server(
    app: AsgiApp, lifespan: Literal["on", "off"], forwarded_from: Sequence[str], drain: float, connections: int
) -> _QuietServer:
    return _QuietServer(
        uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            interface="asgi3",
            ws="none",
            lifespan=lifespan,
            log_config=None,
            access_log=False,
            proxy_headers=bool(forwarded_from),
            forwarded_allow_ips=list(forwarded_from),
            server_header=False,
            date_header=True,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=max(1, math.ceil(drain)),
            limit_concurrency=connections,
        )
    )
