"""A session of a stdio server of the handshake era: one process, and all that is said with it.

Everything that the process says is for the one client that opened the session. What belongs to no call goes to the
call that is under way, if there is exactly one; else to the stream that the client listens to; else it waits.

Spec: MCP 2025-11-25 transports
Spec: MCP 2025-11-25 lifecycle
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.child import Child
from perhop.gateway.upstream.conversation import Conversation, Hung, PendingCall
from perhop.gateway.upstream.era_probe import PING
from perhop.gateway.upstream.framing import Asked, Notified
from perhop.gateway.upstream.mailbox import Mailbox
from perhop.rules.mcp_message import render_json
from perhop.rules.session_seal import Principal

MAX_WAITING = 100
MAX_WAITING_BYTES = 1024 * 1024


class Session:
    """One session. `id` is known to its client only; `ended` is called once when its process is no more.

    `holder` is the principal that has opened it; None for the gateway's own questions.
    """

    def __init__(
        self,
        id_: str,
        child: Child,
        *,
        holder: Principal | None,
        clock: Callable[[], float],
        ended: Callable[[Session], None],
    ) -> None:
        self.id = id_
        self.holder = holder
        self._child = child
        self._clock = clock
        self._ended = ended
        self._conversation = Conversation(child, unlabelled=self._deliver)
        self._waiting: deque[bytes] = deque()
        self._listening: Mailbox | None = None
        self._is_open = False
        self.used_at = clock()
        self._reading = asyncio.create_task(self._conversation.run())
        self._reading.add_done_callback(lambda _: self._ended(self))

    @property
    def is_over(self) -> bool:
        """True once its process has ended, or is being ended."""
        return self._conversation.is_over

    @property
    def is_at_work(self) -> bool:
        """True while its client waits for an answer."""
        return bool(self._conversation.calls)

    @property
    def is_listened_to(self) -> bool:
        """True while its client has a stream for what belongs to no call."""
        return self._listening is not None

    @property
    def pid(self) -> int:
        """Its process."""
        return self._child.pid

    async def open(self, initialize: Mapping[str, Any], *, seconds: float) -> Mapping[str, Any]:
        """Pass the client's handshake on, and return what the server answers.

        Raises: UpstreamUnavailable
        """
        try:
            async with asyncio.timeout(seconds):
                answer = await self._conversation.answer(initialize)
        except TimeoutError:
            raise UpstreamUnavailable(f"no answer to a handshake within {seconds:g} s") from None
        self._is_open = True
        self.touch()
        return answer

    def touch(self) -> None:
        """Its client was here."""
        self.used_at = self._clock()

    def ask(self, message: Mapping[str, Any]) -> PendingCall:
        """Send a request of the client; what has waited goes out with its answer.

        Raises: UpstreamUnavailable
        """
        call = self._conversation.ask(message)
        self._pour_into(call.mailbox)
        return call

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a notification of the client, or its answer to what the server has asked.

        Raises: UpstreamUnavailable
        """
        params = message.get("params")
        if message.get("method") != "notifications/cancelled" or not isinstance(params, dict):
            self._conversation.tell(message)
            return
        rpc_id = params.get("requestId")
        if isinstance(rpc_id, str | int) and not isinstance(rpc_id, bool):
            self._conversation.cancel(rpc_id, params.get("reason"))

    def leave(self, call: PendingCall, *, cancels: bool) -> None:
        """Nobody waits for this call any more. A connection that is gone does not mean to cancel what ran in it.

        Spec: MCP 2025-11-25 transports
        """
        self._conversation.leave(call, cancels=cancels)
        self.touch()

    def doubt(self, call: PendingCall, *, seconds: float, hung: Hung) -> None:
        """A call ran out of time: `hung` if the process gives no sign of life."""
        self._conversation.doubt(call, PING, seconds=seconds, hung=hung)

    def listen(self) -> Mailbox:
        """The stream for what belongs to no call. A client that listens anew ends the stream that it had."""
        if self._listening is not None:
            self._listening.finish()
        self._listening = Mailbox()
        self._pour_into(self._listening)
        return self._listening

    def stop_listening(self, mailbox: Mailbox) -> None:
        """The client does not read this stream any more."""
        mailbox.finish()
        self.touch()
        if self._listening is mailbox:
            self._listening = None

    async def end(self, why: str) -> None:
        """Fail what is open, and end the process."""
        self._conversation.break_off(why)
        if self._listening is not None:
            self._listening.finish()
        await self._child.end()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    def _deliver(self, message: Asked | Notified) -> None:
        octets = render_json(message.message)
        mailbox = self._mailbox()
        if mailbox is not None:
            mailbox.put(octets)
            return
        self._waiting.append(octets)
        while len(self._waiting) > MAX_WAITING or sum(map(len, self._waiting)) > MAX_WAITING_BYTES:
            self._waiting.popleft()
            self._child.complain("said more to a client that does not listen than is kept; the oldest is dropped")

    def _mailbox(self) -> Mailbox | None:
        """Where a message goes that belongs to no call: one stream, never two. Spec: MCP 2025-11-25 transports."""
        calls = [call for call in self._conversation.calls if call.mailbox.is_open] if self._is_open else []
        if len(calls) == 1:
            return calls[0].mailbox
        if self._listening is not None and self._listening.is_open:
            return self._listening
        return calls[0].mailbox if calls else None

    def _pour_into(self, mailbox: Mailbox) -> None:
        while self._waiting:
            mailbox.put(self._waiting.popleft())
