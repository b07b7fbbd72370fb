"""A child: one process of a stdio server, in a session of its own, that gets nothing of ours but what it is given.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any

from perhop.core.resource import LocalCommand
from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.framing import MAX_LINE_BYTES, LineSplitter
from perhop.gateway.upstream.orphan_watch import OrphanWatch
from perhop.gateway.upstream.server_log import ServerLog

GRACE_SECONDS = 2.0
"""For each of two steps: after its input was closed, and after SIGTERM."""

LAST_WORDS_SECONDS = 0.2
"""After its exit, for what is still in its pipe."""

MAX_UNREAD_BYTES = 8 * 1024 * 1024
MAX_LOG_LINE_BYTES = 8 * 1024
_CHUNK_BYTES = 64 * 1024


class _Streams(asyncio.subprocess.SubprocessStreamProtocol):
    """The process's streams, and word of its exit: waiting for the streams' ends would wait for its children, too."""

    def __init__(self) -> None:
        super().__init__(limit=_CHUNK_BYTES, loop=asyncio.get_running_loop())
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        self.exited.set()
        super().process_exited()


class Child:
    """A running process. `lines` is read by one reader; `end` ends the process and whoever it has started."""

    def __init__(
        self, transport: asyncio.SubprocessTransport, streams: _Streams, watch: OrphanWatch, log: ServerLog
    ) -> None:
        self._transport = transport
        self._streams = streams
        self._watch = watch
        self._log = log
        self._logging = asyncio.create_task(self._log_stderr())
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, command: LocalCommand, *, inherited: Mapping[str, str], watch: OrphanWatch, log: ServerLog
    ) -> Child:
        """Start the command. Its environment is what it inherits, as given here, and what its configuration says.

        Raises: UpstreamUnavailable
        """
        try:
            await watch.start()
            starting = asyncio.create_task(_spawn(command, inherited))
            try:
                transport, streams = await asyncio.shield(starting)
            except asyncio.CancelledError:
                # Cancelled itself, the loop would end the process alone, and not whom it has started meanwhile.
                starting.add_done_callback(_kill)
                raise
        except OSError as error:
            raise UpstreamUnavailable(f"cannot start `{command.words[0]}`: {error.strerror}") from error
        watch.add(transport.get_pid())
        return cls(transport, streams, watch, log)

    @property
    def pid(self) -> int:
        """The process, and the group and session that it leads."""
        return self._transport.get_pid()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._transport.get_returncode()

    def write(self, line: bytes) -> None:
        """Send a line. It goes out whole or, if this raises, not at all.

        Raises: UpstreamUnavailable
        """
        stdin = self._streams.stdin
        if stdin is None or stdin.is_closing() or self.exit_code is not None:
            raise UpstreamUnavailable("the server has ended")
        if stdin.transport.get_write_buffer_size() + len(line) > MAX_UNREAD_BYTES:
            raise UpstreamUnavailable("the server does not read what it is sent")
        stdin.write(line)

    async def lines(self) -> AsyncIterator[bytes | None]:
        """The lines of its stdout until it ends; None for one that was too long."""
        splitter = LineSplitter(MAX_LINE_BYTES)
        async for chunk in self._chunks():
            for line in splitter.feed(chunk):
                yield line

    def complain(self, what: str) -> None:
        """Note in the log what is wrong with it."""
        self._log.complain(what)

    async def end(self) -> None:
        """Close its input, wait, ask it to end, wait, make it end; whoever is left of its group is ended, too.

        Spec: MCP 2026-07-28 transports
        """
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        if self._streams.stdin is not None:
            self._streams.stdin.close()
        if not await self._has_exited():
            self._signal(signal.SIGTERM)
            await self._has_exited()
        self._signal(signal.SIGKILL)
        if await self._has_exited():
            self._watch.remove(self.pid)
        else:
            self.complain("does not end, not even when it is killed")
        self._logging.cancel()
        await asyncio.gather(self._logging, return_exceptions=True)
        self._transport.close()

    async def _has_exited(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._streams.exited.wait()
        return self._streams.exited.is_set()

    def _signal(self, number: signal.Signals) -> None:
        _signal_group(self.pid, number)

    async def _log_stderr(self) -> None:
        assert self._streams.stderr is not None
        splitter = LineSplitter(MAX_LOG_LINE_BYTES)
        while chunk := await self._streams.stderr.read(_CHUNK_BYTES):
            for line in splitter.feed(chunk):
                self._log.say(line)

    async def _chunks(self) -> AsyncIterator[bytes]:
        """What comes until the end of the stream; where a child of the process holds it open, until the exit."""
        assert self._streams.stdout is not None
        waiting: set[asyncio.Future[Any]] = set()
        exited: asyncio.Future[Any] = asyncio.ensure_future(self._streams.exited.wait())
        try:
            while True:
                reading = asyncio.ensure_future(self._streams.stdout.read(_CHUNK_BYTES))
                waiting = {reading, exited}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    await asyncio.wait({reading}, timeout=LAST_WORDS_SECONDS)
                if not reading.done() or not (chunk := reading.result()):
                    return
                yield chunk
        finally:
            for each in waiting:
                each.cancel()


async def _spawn(command: LocalCommand, inherited: Mapping[str, str]) -> tuple[asyncio.SubprocessTransport, _Streams]:
    """Raises: OSError"""
    return await asyncio.get_running_loop().subprocess_exec(
        _Streams,
        *command.words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=command.folder,
        env={**inherited, **{name: value.reveal() for name, value in command.environment.items()}},
        start_new_session=True,
    )


def _kill(starting: asyncio.Task[tuple[asyncio.SubprocessTransport, _Streams]]) -> None:
    """Nobody waits for this process any more, and nothing was said to it."""
    if starting.cancelled() or starting.exception() is not None:
        return
    transport, _ = starting.result()
    _signal_group(transport.get_pid(), signal.SIGKILL)
    transport.close()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
