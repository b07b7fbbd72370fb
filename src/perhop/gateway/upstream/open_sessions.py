"""The open sessions of one stdio server: a process for each, so they are few, and those that nobody uses are ended.

When all are taken, the one that was unused longest makes room, if nothing is under way in it and it was left alone for
a while; else the new one is refused. So a client that goes away without a word costs nobody for long, and nobody can
push out those who are at work.

Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.child import Child
from perhop.gateway.upstream.session import Session

KEPT_SECONDS = 30.0
"""A session that was used so recently never makes room: its client may be thinking."""

SESSION_ID_BYTES = 32
FULL_RETRY_SECONDS = 10

_log = logging.getLogger("perhop.upstream")


class OpenSessions:
    """By id. `run` must be running: it ends those that are idle."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Awaitable[Child]],
        *,
        limit: int,
        idle_seconds: float,
        start_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._start = start
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._start_seconds = start_seconds
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._taken = 0
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """The processes of the sessions that are open."""
        return [session.pid for session in self._sessions.values()]

    def find(self, id_: str) -> Session | None:
        """The session of this id, if it is open; its client has just used it."""
        session = self._sessions.get(id_)
        if session is None or session.is_over:
            return None
        session.touch()
        return session

    async def open(self, initialize: Mapping[str, Any]) -> tuple[Session | None, Mapping[str, Any]]:
        """Open a session with the client's own handshake: None beside the server's answer where it refuses.

        Raises: UpstreamUnavailable
        """
        self._make_room()
        self._taken += 1
        session: Session | None = None
        try:
            await self._wait_for_room()
            child = await self._start()
            session = Session(secrets.token_urlsafe(SESSION_ID_BYTES), child, clock=self._clock, ended=self._forget)
            answer = await session.open(initialize, seconds=self._start_seconds)
            if "result" not in answer:
                self.end(session, "the server refused the handshake")
                return None, answer
            if session.is_over:
                raise UpstreamUnavailable("the server has ended")
            self._sessions[session.id] = session
            return session, answer
        except BaseException:
            if session is not None:
                self.end(session, "the session was not opened")
            raise
        finally:
            self._taken -= 1

    def end(self, session: Session, why: str) -> None:
        """End a session: its id means nothing from now on, and its process is ended meanwhile."""
        self._sessions.pop(session.id, None)
        ending = asyncio.create_task(session.end(why))
        self._ends.add(ending)
        ending.add_done_callback(self._ends.discard)

    async def run(self) -> NoReturn:
        """End sessions that nobody uses."""
        while True:
            await asyncio.sleep(min(self._idle_seconds / 4, KEPT_SECONDS))
            for session in self._unused(self._idle_seconds):
                _log.info("`%s`: a session was idle, and is ended", self._name)
                self.end(session, "the session was idle")

    async def close(self) -> None:
        """End them all."""
        for session in list(self._sessions.values()):
            self.end(session, "the gateway is being stopped")
        while self._ends:
            await asyncio.gather(*self._ends, return_exceptions=True)

    def _make_room(self) -> None:
        """Raises: UpstreamUnavailable"""
        if len(self._sessions) + self._taken < self._limit:
            return
        longest = self._unused(min(KEPT_SECONDS, self._idle_seconds))[:1]
        if not longest:
            raise UpstreamUnavailable("all sessions are taken", retry_after=self._seconds_until_room())
        _log.info("`%s`: all sessions are taken; the one that was unused longest is ended", self._name)
        self.end(longest[0], "the session made room")

    async def _wait_for_room(self) -> None:
        """Never more processes than sessions are allowed: the one that makes room goes first."""
        while self._ends and len(self._sessions) + self._taken + len(self._ends) > self._limit:
            await asyncio.wait(self._ends, return_when=asyncio.FIRST_COMPLETED)

    def _unused(self, seconds: float) -> list[Session]:
        """Sessions in which nothing is under way and that were left alone for so long, longest first."""
        latest = self._clock() - seconds
        unused = [each for each in self._sessions.values() if not each.is_at_work and each.used_at <= latest]
        return sorted(unused, key=lambda session: session.used_at)

    def _seconds_until_room(self) -> int:
        free = [each.used_at for each in self._sessions.values() if not each.is_at_work]
        if not free:
            return FULL_RETRY_SECONDS
        return max(1, math.ceil(min(free) + min(KEPT_SECONDS, self._idle_seconds) - self._clock()))

    def _forget(self, session: Session) -> None:
        """The process of a session is no more: its client gets 404, and opens another."""
        if session.id in self._sessions:
            _log.warning("`%s`: the process of a session has ended", self._name)
            self.end(session, "the server has ended")
