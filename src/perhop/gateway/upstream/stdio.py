"""A local server over its standard streams, answered for as if it spoke streamable HTTP.

A server of the stateless era has one process for all callers, and every answer goes by labels of ours to the call that
it is for. A server of the handshake era has a process for each session. Nothing that one caller is meant to hear is
heard by another (decisions/0009).

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from perhop.core.call import Headers
from perhop.core.resource import LocalCommand
from perhop.core.token import BoundToken
from perhop.errors import AnswerTooLong, UpstreamUnavailable
from perhop.gateway.upstream import reply
from perhop.gateway.upstream.child import Child
from perhop.gateway.upstream.conversation import Conversation, PendingCall
from perhop.gateway.upstream.era_probe import DISCOVER
from perhop.gateway.upstream.interface import StateKeeper, UpstreamReply, UpstreamState
from perhop.gateway.upstream.open_sessions import OpenSessions
from perhop.gateway.upstream.orphan_watch import OrphanWatch
from perhop.gateway.upstream.server_log import ServerLog
from perhop.gateway.upstream.session import Session
from perhop.gateway.upstream.standing import Standing
from perhop.rules.mcp_headers import SESSION, VERSION
from perhop.rules.mcp_methods import ASSUMED_REVISION, MODERN_REVISIONS, Era
from perhop.rules.session_seal import Principal

Ask = Callable[[Mapping[str, Any]], PendingCall]
Leave = Callable[[PendingCall, bool], None]
"""The second argument is True for a call that ran out of time."""

Doubt = Callable[[PendingCall], None]

SIGN_OF_LIFE_SECONDS = 5.0


class StdioUpstream:
    """One local server. Its processes start when this is made, in a running event loop, and end with `close`."""

    def __init__(
        self,
        name: str,
        command: LocalCommand,
        *,
        answer_seconds: float,
        inherited: Mapping[str, str],
        watch: OrphanWatch,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._sign_seconds = min(answer_seconds, SIGN_OF_LIFE_SECONDS)
        self._keeper = StateKeeper(clock)
        log = ServerLog(name, clock=monotonic)

        async def start() -> Child:
            return await Child.start(command, inherited=inherited, watch=watch, log=log)

        self._standing = Standing(name, start, self._keeper, start_seconds=command.start_timeout)
        self._sessions = OpenSessions(
            name,
            start,
            limit=command.max_sessions,
            idle_seconds=command.session_idle,
            start_seconds=command.start_timeout,
            clock=monotonic,
        )
        self._running = [asyncio.create_task(work) for work in (self._standing.run(), self._sessions.run())]
        self._under_way = 0
        self._has_ended = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._monotonic = monotonic
        self._ends_at = math.inf

    @property
    def state(self) -> UpstreamState:
        return self._keeper.state

    @property
    def eras(self) -> frozenset[Era]:
        return self._standing.eras

    @property
    def pids(self) -> list[int]:
        """Its processes: the one that stands, then those of sessions."""
        return [*(pid for pid in (self._standing.pid,) if pid is not None), *self._sessions.pids]

    async def close(self, *, within: float = 0.0) -> None:
        self._ends_at = min(self._ends_at, self._monotonic() + within)
        self._has_ended.set()
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def send(
        self, http_method: str, headers: Headers, body: bytes, own: Headers = (), caller: BoundToken | None = None
    ) -> UpstreamReply:
        """Send one message to the process that it is for, and return when its answer has begun.

        Raises: UpstreamUnavailable, AnswerTooLong
        """
        if self._closing is not None:
            raise UpstreamUnavailable("the way to the server is closed")
        headers = (*headers, *own)
        version = _header(headers, VERSION)
        # What the gateway forwards was written by it, and what its self-test sends as well.
        message = json.loads(body) if http_method == "POST" else None
        if message is not None and version in MODERN_REVISIONS:
            return await self._send_stateless(message)
        session_id, version = _header(headers, SESSION), version or ASSUMED_REVISION
        if session_id is None:
            return await self._send_without_session(message, version, caller)
        return await self._send_in_session(http_method, session_id, message)

    async def _send_stateless(self, message: Mapping[str, Any]) -> UpstreamReply:
        shared = self._standing.met()
        if not isinstance(shared, Conversation):
            return reply.only_handshakes(message, shared)
        if "id" not in message:
            # INVARIANT: a notification carries ids that its sender chose, so on a shared process it could mean a call
            # of somebody else. Leaving the answer is what cancels here.
            return reply.accepted()

        def leave(call: PendingCall, _: bool) -> None:
            shared.leave(call, cancels=True)

        def doubt(call: PendingCall) -> None:
            shared.doubt(call, DISCOVER, seconds=self._sign_seconds, hung=lambda: self._standing.end(shared))

        return await self._answer(message, shared.ask, leave, doubt, era=Era.MODERN)

    async def _send_in_session(
        self, http_method: str, session_id: str, message: Mapping[str, Any] | None
    ) -> UpstreamReply:
        session = self._sessions.find(session_id)
        if session is None:
            return reply.unknown_session()
        if http_method == "DELETE":
            self._sessions.end(session, "the client ended the session")
            return reply.ended()
        if message is None:
            return self._listen(session)
        if "id" not in message or "method" not in message:
            session.tell(message)
            return reply.accepted()

        def leave(call: PendingCall, ran_out_of_time: bool) -> None:
            session.leave(call, cancels=ran_out_of_time)

        def doubt(call: PendingCall) -> None:
            session.doubt(
                call, seconds=self._sign_seconds, hung=lambda: self._sessions.end(session, "the server hangs")
            )

        return await self._answer(message, session.ask, leave, doubt, era=Era.LEGACY)

    async def _send_without_session(
        self, message: Mapping[str, Any] | None, version: str, caller: BoundToken | None
    ) -> UpstreamReply:
        """A handshake opens a session; everything else of its era wants one."""
        if not await self._standing.takes_handshakes():
            return reply.only_post() if message is None else reply.no_handshakes(message, _requested(message, version))
        if message is None or "id" not in message or message.get("method") != "initialize":
            return reply.no_session(message)
        holder = None if caller is None else Principal.of(caller)
        opened = self._closing_of(reply.nothing)
        try:
            session, answer = await self._sessions.open(message, holder)
        finally:
            await opened()
        named: Headers = () if session is None else ((SESSION, session.id),)
        return reply.answer(answer, named)

    def _listen(self, session: Session) -> UpstreamReply:
        mailbox = session.listen()

        async def stop() -> None:
            session.stop_listening(mailbox)

        return reply.stream(mailbox, close=self._closing_of(stop))

    async def _answer(
        self, message: Mapping[str, Any], ask: Ask, leave: Leave, doubt: Doubt, *, era: Era
    ) -> UpstreamReply:
        call = ask(message)

        async def close() -> None:
            leave(call, False)

        closing = self._closing_of(close)
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await reply.answer_call(call, era=era, close=closing)
        except TimeoutError:
            leave(call, True)
            doubt(call)
            await closing()
            raise AnswerTooLong("the answer did not begin in time") from None
        except BaseException:
            await closing()
            raise

    def _closing_of(self, close: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Count a reply that is under way, until it is closed."""
        self._under_way += 1
        is_open = True

        async def close_once() -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                self._under_way -= 1
                self._has_ended.set()
                await close()

        return close_once

    async def _close(self) -> None:
        while self._under_way and (left := self._ends_at - self._monotonic()) > 0:
            self._has_ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._has_ended.wait()
        for task in self._running:
            task.cancel()
        await asyncio.gather(self._sessions.close(), *self._running, return_exceptions=True)
        await self._standing.ended()


def _header(headers: Headers, name: str) -> str | None:
    return next((value for each, value in headers if each == name), None)


def _requested(message: Mapping[str, Any], version: str) -> str:
    """The revision that a message of the handshake era asks for."""
    params = message.get("params")
    asked = params.get("protocolVersion") if isinstance(params, dict) else None
    return asked if isinstance(asked, str) else version
