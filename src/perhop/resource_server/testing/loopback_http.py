"""As much of an HTTP/1.1 server as an issuer to throw away needs, so that tests need no server installed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `query` is as it stood."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    headers: Fields
    body: bytes


def json_reply(document: Mapping[str, Any], *, status: int = 200, headers: Fields = ()) -> Reply:
    """An answer with a JSON document."""
    return Reply(status, (("content-type", "application/json"), *headers), json.dumps(document).encode())


@asynccontextmanager
async def serve(answer: Callable[[Request], Awaitable[Reply]]) -> AsyncIterator[str]:
    """Serve on a free port of 127.0.0.1, one request a connection; yields the URL without a trailing slash."""
    running: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served in a task"
        running.add(task)
        try:
            writer.write(_render(await answer(await _read(reader))))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the peer has gone away, as peers do, or the server ends
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    path, _, query = target.partition("?")
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return Request(method, path, query, fields, body)


def _render(reply: Reply) -> bytes:
    fields = (*reply.headers, ("content-length", str(len(reply.body))), ("connection", "close"))
    lines = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        *(f"{name}: {value}" for name, value in fields),
    ]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + reply.body
