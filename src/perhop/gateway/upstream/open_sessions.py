"""The open sessions of one stdio server: a process for each, so they are few, and those that nobody uses are ended.

When all are taken, the one that was unused longest makes room, if nothing is under way in it and it was left alone for
a while; else the new one is refused. So a client that goes away without a word costs nobody for long, and nobody can
push out those who are at work. But half of the sessions is the share of one principal: what it has above that it has
only while nobody below its own share wants it, whatever is under way.

Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.child import Child
from perhop.gateway.upstream.session import Session
from perhop.rules.session_seal import Principal

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
        self._starts: dict[asyncio.Future[None], Principal | None] = {}
        self._is_closed = False
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """The processes of the sessions, those whose handshake is under way among them."""
        return [session.pid for session in self._sessions.values()]

    def find(self, id_: str) -> Session | None:
        """The session of this id, if it is open; its client has just used it."""
        session = self._sessions.get(id_)
        if session is None or session.is_over:
            return None
        session.touch()
        return session

    async def open(
        self, initialize: Mapping[str, Any], holder: Principal | None
    ) -> tuple[Session | None, Mapping[str, Any]]:
        """Open a session with the client's own handshake: None beside the server's answer where it refuses.

        Raises: UpstreamUnavailable
        """
        self._check_open()
        self._make_room(holder)
        session = await self._start_session(holder)
        try:
            self._check_open()
            answer = await session.open(initialize, seconds=self._start_seconds)
            if session.is_over:
                raise UpstreamUnavailable("the server has ended")
        except BaseException:
            self.end(session, "the session was not opened")
            raise
        if "result" not in answer:
            self.end(session, "the server refused the handshake")
            return None, answer
        return session, answer

    def end(self, session: Session, why: str) -> None:
        """End a session: its id means nothing from now on, and its process is ended meanwhile."""
        if self._sessions.pop(session.id, None) is None:
            return
        ending = asyncio.create_task(session.end(why))
        self._ends.add(ending)
        ending.add_done_callback(self._ends.discard)

    async def run(self) -> NoReturn:
        """End sessions that nobody uses."""
        while True:
            await asyncio.sleep(min(self._idle_seconds / 4, KEPT_SECONDS))
            for session in self._unused(self._idle_seconds):
                if session.is_listened_to:
                    continue
                _log.info("`%s`: a session was idle, and is ended", self._name)
                self.end(session, "the session was idle")

    async def close(self) -> None:
        """End them all, those whose handshake is under way among them; from now on none is opened."""
        self._is_closed = True
        for session in list(self._sessions.values()):
            self.end(session, "the gateway is being stopped")
        while left := {*self._starts, *self._ends}:
            await asyncio.wait(left)

    def _check_open(self) -> None:
        """Raises: UpstreamUnavailable"""
        if self._is_closed:
            raise UpstreamUnavailable("the way to the server is closed")

    async def _start_session(self, holder: Principal | None) -> Session:
        """A session whose process runs, and nothing was said to it yet. Raises: UpstreamUnavailable."""
        has_started = asyncio.get_running_loop().create_future()
        self._starts[has_started] = holder
        try:
            await self._wait_for_room()
            child = await self._start()
            id_ = secrets.token_urlsafe(SESSION_ID_BYTES)
            session = Session(id_, child, holder=holder, clock=self._clock, ended=self._forget)
            self._sessions[id_] = session
            return session
        finally:
            del self._starts[has_started]
            has_started.set_result(None)

    def _make_room(self, holder: Principal | None) -> None:
        """Raises: UpstreamUnavailable"""
        if len(self._sessions) + len(self._starts) < self._limit:
            return
        longest = [*self._unused(min(KEPT_SECONDS, self._idle_seconds)), *self._lent(holder)][:1]
        if not longest:
            raise UpstreamUnavailable("all sessions are taken", retry_after=self._seconds_until_room())
        _log.info("`%s`: all sessions are taken; the one that was unused longest is ended", self._name)
        self.end(longest[0], "the session made room")

    def _lent(self, holder: Principal | None) -> list[Session]:
        """Sessions of principals with more than their share, for one with less than its own; longest unused first."""
        share = max(1, self._limit // 2)
        held = Counter([*self._starts.values(), *(each.holder for each in self._sessions.values())])
        if held[holder] >= share:
            return []
        lent = [each for each in self._sessions.values() if held[each.holder] > share]
        return sorted(lent, key=lambda session: (session.is_at_work, session.used_at))

    async def _wait_for_room(self) -> None:
        """Never more processes than sessions are allowed: the one that makes room goes first."""
        while self._ends and len(self._sessions) + len(self._starts) + len(self._ends) > self._limit:
            await asyncio.wait(self._ends, return_when=asyncio.FIRST_COMPLETED)

    def _unused(self, seconds: float) -> list[Session]:
        """Sessions in which nothing is under way and that were left alone for so long, longest first.

        A client that only listens uses its session until it was idle, or listening would keep it from others for ever.
        """
        now = self._clock()
        unused = [
            each for each in self._sessions.values() if not each.is_at_work and self._left_at(each, seconds) <= now
        ]
        return sorted(unused, key=lambda session: session.used_at)

    def _left_at(self, session: Session, seconds: float) -> float:
        return session.used_at + (self._idle_seconds if session.is_listened_to else seconds)

    def _seconds_until_room(self) -> int:
        kept = min(KEPT_SECONDS, self._idle_seconds)
        free = [self._left_at(each, kept) for each in self._sessions.values() if not each.is_at_work]
        return max(1, math.ceil(min(free) - self._clock())) if free else FULL_RETRY_SECONDS

    def _forget(self, session: Session) -> None:
        """The process of a session is no more: its client gets 404, and opens another."""
        if session.id in self._sessions:
            _log.warning("`%s`: the process of a session has ended", self._name)
            self.end(session, "the server has ended")
