"""The control socket: one JSON line asks, one JSON line answers.

It lies beside the database, mode 0600: whoever may open the files may change standing, and no network credential is
needed. It knows nothing of what is asked; `operations` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from perhop.errors import OperatorError, PerhopError

Answer = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Runs the operation of this name with these arguments."""

MAX_LINE_BYTES = 1024 * 1024
MAX_SOCKET_PATH = 100
"""Linux takes 108 bytes in `sun_path`; a longer path goes by way of its folder's descriptor."""


class RemoteFailure(OperatorError):
    """What the running server said no with; carries its exit code."""

    def __init__(self, problem: str, *, advice: str = "", code: int = 1) -> None:
        super().__init__(problem, advice=advice)
        self.code = code


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.asynccontextmanager
async def listening(path: Path, answer: Answer) -> AsyncIterator[None]:
    """Answer on the socket while the block runs. The caller holds the journal's lock, so a socket left is stale."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            writer.write(json.dumps(await _answered(line, answer)).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the asker left, or sent more than a line: there is nobody to tell
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with _reachable(path) as name:
            listener.bind(name)
    finally:
        os.umask(mask)
    server = await asyncio.start_unix_server(converse, sock=listener, limit=MAX_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def _answered(line: bytes, answer: Answer) -> Mapping[str, Any]:
    try:
        asked = json.loads(line)
        return {"result": await answer(str(asked["operation"]), dict(asked["arguments"]))}
    except OperatorError as error:
        return {"problem": error.problem, "advice": error.advice(), "exit_code": error.exit_code}
    except PerhopError as error:
        return {"problem": str(error), "advice": "", "exit_code": 1}
    except (ValueError, KeyError, TypeError) as error:
        return {"problem": f"the request was not understood: {error}", "advice": "", "exit_code": 2}


async def ask(path: Path, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Ask the running server; None when none runs.

    Raises: RemoteFailure
    """
    try:
        with _reachable(path) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=MAX_LINE_BYTES)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    try:
        writer.write(json.dumps({"operation": operation, "arguments": arguments}).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        raise RemoteFailure("the running server closed the control socket without an answer", code=5)
    answered = json.loads(line)
    if "result" in answered:
        return dict(answered["result"])
    raise RemoteFailure(answered["problem"], advice=answered["advice"], code=int(answered["exit_code"]))
