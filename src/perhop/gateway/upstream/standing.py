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
from perhop.gateway.upstream.era_probe import meet
from perhop.gateway.upstream.framing import Asked, Notified
from perhop.gateway.upstream.interface import Condition, StateKeeper
from perhop.rules.mcp_methods import Era

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A process that lived so long is started again after the first pause."""

UNANSWERED_IN_A_ROW = 3
"""Calls that ran out of time while the process said nothing at all: it hangs, and is ended."""

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
        self._era: Era | None = None
        self._discovers = True
        self._unanswered = (0, 0)
        self._ends: set[asyncio.Task[None]] = set()

    def check_up(self) -> Era:
        """The era that the server speaks.

        Raises: UpstreamUnavailable
        """
        if self._era is None:
            raise UpstreamUnavailable(self._keeper.state.problem or "the server is being started")
        return self._era

    def shared(self) -> Conversation | None:
        """The conversation that all callers share; None with a server of the handshake era.

        Raises: UpstreamUnavailable
        """
        match self.check_up():
            case Era.MODERN:
                return self._conversation
            case Era.LEGACY:
                return None

    def unanswered(self, conversation: Conversation) -> None:
        """A call ran out of time. After some in a row without a sign of life the process is ended, and started anew."""
        if conversation is not self._conversation or self._child is None:
            return
        heard, count = self._unanswered
        count = count + 1 if heard == conversation.heard else 1
        self._unanswered = (conversation.heard, count)
        if count >= UNANSWERED_IN_A_ROW:
            conversation.break_off("the server hangs")
            ending = asyncio.create_task(self._child.end())
            self._ends.add(ending)
            ending.add_done_callback(self._ends.discard)

    async def run(self) -> NoReturn:
        """Keep a process standing; what ends it, and each new start, is logged."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            problem = await self._live()
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
        self._child, self._conversation, self._unanswered = child, conversation, (0, 0)
        try:
            self._era = await meet(conversation, seconds=self._start_seconds, discovers=self._discovers)
            self._keeper.become(Condition.UP)
            _log.info("`%s` is up: process %d, %s", self._name, child.pid, _ERAS[self._era])
            await reading
            problem = ""
        except Unavailable as error:
            # A server may not survive a question of an era that it does not know.
            self._discovers = not self._discovers
            problem = error.detail
        finally:
            self._era = self._conversation = self._child = None
            conversation.break_off("the server has ended")
            reading.cancel()
            await child.end()
        code = child.exit_code
        return problem or f"it ended with {code}"

    def _unlabelled(self, message: Asked | Notified) -> None:
        """What the server says to nobody: not delivered, since it could be meant for anybody."""
        if isinstance(message, Notified) or self._conversation is None or self._era is not Era.LEGACY:
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


_ERAS = {
    Era.MODERN: "one for all callers",
    Era.LEGACY: "and one for each session, since the server speaks revisions with a handshake",
}
