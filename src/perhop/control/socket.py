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

from perhop.control.failure import ExitCode, Failure, RemoteFailure, failure_of
from perhop.errors import OperatorError, PerhopError

Answer = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Runs the operation of this name with these arguments."""

MAX_LINE_BYTES = 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Room for two sets of tool definitions at their bounds, every letter of them escaped."""

ASKING_SECONDS = 10.0
"""From the connection to the end of the line that asks; the answer may take longer."""

MAX_SOCKET_PATH = 100
"""Linux takes 108 bytes in `sun_path`; a longer path goes by way of its folder's descriptor."""


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
    """Answer on the socket while the block runs; what was asked before its end is still answered.

    The caller holds the journal's lock, so a socket that is there already is stale.
    """
    conversations: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        try:
            await _converse(reader, writer, answer)
        finally:
            conversations.discard(task)

    server = await asyncio.start_unix_server(converse, sock=_bound(path), limit=MAX_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)
        await asyncio.gather(*conversations, return_exceptions=True)


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        with _reachable(path) as name:
            listener.bind(name)
    except OSError as error:
        listener.close()
        raise OperatorError(f"cannot make the control socket `{path}`: {error.strerror}") from error
    finally:
        os.umask(mask)
    return listener


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    try:
        async with asyncio.timeout(ASKING_SECONDS):
            line = await reader.readline()
        if line:
            writer.write(json.dumps(await _answered(line, answer)).encode() + b"\n")
            await writer.drain()
    except (ConnectionError, TimeoutError, ValueError):
        pass  # the asker left, said nothing, or sent more than a line: there is nobody to tell
    finally:
        writer.close()


async def _answered(line: bytes, answer: Answer) -> Mapping[str, Any]:
    try:
        asked = json.loads(line)
        operation, arguments = str(asked["operation"]), dict(asked["arguments"])
    except (ValueError, KeyError, TypeError):
        failure = Failure(problem="the request was not understood", advice="", exit_code=ExitCode.USAGE)
        return {"failure": failure.as_json()}
    try:
        return {"result": await answer(operation, arguments)}
    except PerhopError as error:
        return {"failure": failure_of(error).as_json()}


async def is_answered(path: Path) -> bool:
    """True if a server listens on the socket; a socket that a crash left behind does not count."""
    connection = await _connect(path)
    if connection is None:
        return False
    connection[1].close()
    return True


async def ask(path: Path, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Ask the running server; None when none runs.

    Raises: RemoteFailure, OperatorError
    """
    connection = await _connect(path)
    if connection is None:
        return None
    reader, writer = connection
    try:
        writer.write(json.dumps({"operation": operation, "arguments": arguments}).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    except ConnectionError:
        line = b""
    finally:
        writer.close()
    if not line:
        problem = "the running server closed the control socket without an answer"
        raise RemoteFailure(Failure(problem=problem, advice="see its log", exit_code=ExitCode.REMOTE_UNREACHABLE))
    answered = json.loads(line)
    if "result" in answered:
        return dict(answered["result"])
    raise RemoteFailure(Failure(**answered["failure"]))


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    try:
        with _reachable(path) as name:
            return await asyncio.open_unix_connection(name, limit=MAX_ANSWER_BYTES)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return None
    except PermissionError as error:
        advice = "run the command as the user that `perhop serve` runs as"
        raise OperatorError(f"the control socket `{path}` belongs to somebody else", advice=advice) from error
