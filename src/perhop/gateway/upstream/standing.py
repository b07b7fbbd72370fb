"""The standing process of a stdio server: started with the gateway, started again when it ends.

It shows that the command works and which era the server speaks. Where that is the stateless one, it takes the calls of
all callers; a server of the handshake era gets a process for each session besides, and this one only stands.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from perhop.errors import Unavailable, UpstreamUnavailable
from perhop.gateway.upstream.child import Child
from perhop.gateway.upstream.conversation import Conversation
from perhop.gateway.upstream.era_probe import Agreed, meet, takes_handshake
from perhop.gateway.upstream.framing import Asked, Notified
from perhop.gateway.upstream.interface import Condition, StateKeeper
from perhop.rules.mcp_methods import Era

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A process that lived so long is started again after the first pause."""

METHOD_NOT_FOUND = -32601

_log = logging.getLogger("perhop.upstream")

Start = Callable[[], Awaitable[Child]]


class Standing:
    """Keeps one process standing while `run` runs."""

    def __init__(self, name: str, start: Start, keeper: StateKeeper, *, start_seconds: float) -> None:
        self._name = name
        self._start = start
        self._keeper = keeper
        self._start_seconds = start_seconds
        self._child: Child | None = None
        self._conversation: Conversation | None = None
        self._met: Conversation | Agreed | None = None
        self._discovers = True
        self._is_bilingual: bool | None = None
        self._trying = asyncio.Lock()
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """The process that stands; None while there is none."""
        return None if self._child is None else self._child.pid

    @property
    def eras(self) -> frozenset[Era]:
        """Every era that the server speaks; empty while that is not known for each of them."""
        match self._met:
            case Conversation() if self._is_bilingual is not None:
                return frozenset(Era) if self._is_bilingual else frozenset({Era.MODERN})
            case str():
                return frozenset({Era.LEGACY})
            case _:
                return frozenset()

    def met(self) -> Conversation | Agreed:
        """The conversation that all callers share; of a server of the handshake era, the revision that it speaks.

        Raises: UpstreamUnavailable
        """
        if self._met is None:
            raise UpstreamUnavailable(self._keeper.state.problem or "the server is being started")
        return self._met

    async def takes_handshakes(self) -> bool:
        """True if a process of its own gives a session: always in the handshake era, and with a server of both eras.

        A server of the stateless era is tried once, with a process of its own and a handshake of ours: what a caller
        sends must not be what decides for all.

        Raises: UpstreamUnavailable
        """
        if not isinstance(self.met(), Conversation):
            return True
        async with self._trying:
            if self._is_bilingual is None:
                self._is_bilingual = await self._try_handshake()
            return self._is_bilingual

    def end(self, conversation: Conversation) -> None:
        """The server hangs in this conversation: end its process, and start another."""
        if conversation is self._conversation and self._child is not None:
            conversation.break_off("the server hangs")
            self._end_beside(self._child)

    async def ended(self) -> None:
        """Return when every process has ended, once `run` has."""
        while self._ends:
            await asyncio.wait(self._ends)

    async def run(self) -> NoReturn:
        """Keep a process standing; what ends it, and each new start, is logged."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                problem = await self._live()
            except Exception:
                _log.exception("`%s`: keeping it up failed", self._name)
                problem = "keeping it up failed"
            self._keeper.become(Condition.FAILED, problem)
            if time.monotonic() - began >= STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            _log.warning("`%s` is not up: %s; started again in %g s", self._name, problem, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _live(self) -> str:
        """One life of the process, from its start to its end; returns what ended it."""
        try:
            child = await self._start()
        except UpstreamUnavailable as error:
            return error.detail
        conversation = Conversation(child, unlabelled=self._unlabelled)
        reading = asyncio.create_task(conversation.run())
        self._child, self._conversation = child, conversation
        trial: asyncio.Task[bool] | None = None
        try:
            agreed = await meet(conversation, seconds=self._start_seconds, discovers=self._discovers)
            self._met = agreed or conversation
            self._keeper.become(Condition.UP)
            _log.info("`%s` is up: process %d, %s", self._name, child.pid, _MODERN if agreed is None else _LEGACY)
            trial = asyncio.create_task(self.takes_handshakes())
            await reading
            problem = ""
        except Unavailable as error:
            # A server may not survive a question of an era that it does not know.
            self._discovers = not self._discovers
            problem = error.detail
        finally:
            self._met = self._conversation = self._child = None
            conversation.break_off("the server has ended")
            for task in (reading, trial):
                if task is not None:
                    task.cancel()
            await child.end()
            await asyncio.gather(*(task for task in (reading, trial) if task is not None), return_exceptions=True)
        code = child.exit_code
        return problem or f"it ended with {code}"

    async def _try_handshake(self) -> bool:
        child = await self._start()
        conversation = Conversation(child, unlabelled=lambda _: None)
        reading = asyncio.create_task(conversation.run())
        try:
            return await takes_handshake(conversation, seconds=self._start_seconds)
        finally:
            reading.cancel()
            self._end_beside(child)

    def _end_beside(self, child: Child) -> None:
        ending = asyncio.create_task(child.end())
        self._ends.add(ending)
        ending.add_done_callback(self._ends.discard)

    def _unlabelled(self, message: Asked | Notified) -> None:
        """What the server says to nobody: not delivered, since it could be meant for anybody."""
        if isinstance(message, Notified) or self._conversation is None or isinstance(self._met, Conversation):
            return
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": message.id}
        if message.method == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
        try:
            self._conversation.tell(answer)
        except UpstreamUnavailable as error:
            _log.info("`%s` was not answered: %s", self._name, error)


_MODERN = "one for all callers"
_LEGACY = "and one for each session, since the server speaks revisions with a handshake"
