"""A conversation with one stdio server: many calls over one channel, and each answer to the call that it is for.

What carries no label of ours belongs to no call; what becomes of it, whoever opened the conversation decides.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from perhop.errors import AnswerUnfit, UpstreamUnavailable
from perhop.gateway.upstream.child import Child
from perhop.gateway.upstream.framing import (
    Answered,
    Asked,
    Notified,
    ServerMessage,
    parse_line,
    render_line,
)
from perhop.gateway.upstream.labels import (
    Label,
    Labels,
    answer_with_their_labels,
    labels_for,
    notification_with_their_labels,
    progress_label,
    subscription_label,
    with_our_labels,
)
from perhop.gateway.upstream.mailbox import Mailbox
from perhop.rules.mcp_message import render_json
from perhop.rules.mcp_methods import STANDING_STREAM

MAX_PENDING = 1_000
MAX_REMEMBERED = 1_000
LONG_LINE = 256 * 1024
"""Longer ones are parsed beside the event loop."""

T = TypeVar("T")

Unlabelled = Callable[[Asked | Notified], None]
Hung = Callable[[], None]


class PendingCall:
    """One call that the server has not answered yet. `is_left`: nobody waits for it any more."""

    def __init__(self, method: str, labels: Labels, *, heard_before: int) -> None:
        self.method = method
        self.labels = labels
        self.heard_before = heard_before
        self.mailbox = Mailbox()
        self.answer: Mapping[str, Any] | None = None
        self.is_left = False
        self.is_cancelled = False

    @property
    def has_only_its_answer(self) -> bool:
        """True once the answer has come and was the last thing taken out of the mailbox."""
        return self.answer is not None and self.mailbox.is_empty


class Conversation:
    """All that is under way with one process. `run` must be running; it ends with the process."""

    def __init__(self, child: Child, *, unlabelled: Unlabelled) -> None:
        self._child = child
        self._unlabelled = unlabelled
        self._pending: dict[int, PendingCall] = {}
        self._cancelled: OrderedDict[int, None] = OrderedDict()
        self._tokens: OrderedDict[int, Labels] = OrderedDict()
        self._numbers = itertools.count(1)
        self._over: UpstreamUnavailable | None = None
        self._heard = 0
        self._doubting: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """True once the process has ended, or is being ended."""
        return self._over is not None

    @property
    def calls(self) -> list[PendingCall]:
        """The calls that somebody waits for, oldest first."""
        return [call for call in self._pending.values() if not call.is_left]

    def ask(self, message: Mapping[str, Any]) -> PendingCall:
        """Send a request, under an id of ours.

        Raises: UpstreamUnavailable
        """
        if len(self._pending) >= MAX_PENDING:
            raise UpstreamUnavailable("too many calls that the server has not answered")
        labels = labels_for(message, next(self._numbers))
        call = PendingCall(message["method"], labels, heard_before=self._heard)
        self._write(with_our_labels(message, labels))
        self._pending[labels.ours] = call
        if labels.progress_token is not None:
            _remember(self._tokens, labels.ours, labels)
        return call

    async def answer(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a request and wait for its answer alone; what else comes for it is dropped.

        Raises: UpstreamUnavailable
        """
        call = self.ask(message)
        try:
            while not call.has_only_its_answer:
                await call.mailbox.take()
        finally:
            self.leave(call, cancels=False)
        assert call.answer is not None
        return call.answer

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a notification, or a response to what the server has asked, as it is.

        Raises: UpstreamUnavailable
        """
        self._write(message)

    def cancel(self, rpc_id: Label, reason: object = None) -> None:
        """Pass on that a caller cancels what it has asked under an id of its own; unknown ids are ignored.

        Raises: UpstreamUnavailable
        """
        for call in self.calls:
            if call.labels.rpc_id == rpc_id and type(call.labels.rpc_id) is type(rpc_id):
                self._write(_cancelled(call.labels.ours, reason))
                call.is_cancelled = True

    def leave(self, call: PendingCall, *, cancels: bool) -> None:
        """Nobody waits for this call any more; the server is told if leaving means to cancel."""
        if call.is_left or call.labels.ours not in self._pending:
            return
        call.is_left = True
        call.mailbox.finish()
        if not (cancels or call.is_cancelled):
            return
        # A call that was cancelled is rightly never answered, so it does not stay among those that will be.
        del self._pending[call.labels.ours]
        _remember(self._cancelled, call.labels.ours, None)
        if call.is_cancelled:
            return
        try:
            self._write(_cancelled(call.labels.ours, None))
        except UpstreamUnavailable as error:
            self._child.complain(f"was not told that a call is cancelled: {error}")

    def doubt(self, call: PendingCall, question: Mapping[str, Any], *, seconds: float, hung: Hung) -> None:
        """A call ran out of time. If nothing was heard meanwhile, ask for a sign of life; `hung` if none comes."""
        if call.heard_before != self._heard or self._doubting is not None or self.is_over:
            return
        self._doubting = asyncio.create_task(self._ask_for_a_sign(question, seconds, hung))

    async def _ask_for_a_sign(self, question: Mapping[str, Any], seconds: float, hung: Hung) -> None:
        heard = self._heard
        try:
            async with asyncio.timeout(seconds):
                await self.answer(question)
        except (TimeoutError, UpstreamUnavailable):
            if self._heard == heard and not self.is_over:
                hung()
        finally:
            self._doubting = None

    async def run(self) -> None:
        """Read what the server says until it ends; then every open call has failed."""
        try:
            async for line in self._child.lines():
                if line is None:
                    self._ignore("a line that is too long")
                    continue
                try:
                    read = await asyncio.to_thread(parse_line, line) if len(line) > LONG_LINE else parse_line(line)
                except AnswerUnfit as unfit:
                    self._ignore(unfit.detail)
                    continue
                self._heard += 1
                self._route(read)
        finally:
            self.break_off("the server has ended")

    def break_off(self, why: str) -> None:
        """Take nothing new, and fail what is open."""
        if self._over is None:
            self._over = UpstreamUnavailable(why)
        if self._doubting is not None:
            self._doubting.cancel()
        pending, self._pending = self._pending, {}
        for call in pending.values():
            call.mailbox.break_off(self._over)

    def _route(self, read: ServerMessage) -> None:
        match read:
            case Answered():
                self._answer(read)
            case Notified():
                self._notify(read)
            case Asked():
                self._unlabelled(read)

    def _answer(self, answered: Answered) -> None:
        call = self._pending.pop(answered.id, None)
        if call is None:
            if answered.id not in self._cancelled:
                self._ignore("an answer to nothing that was asked")
            return
        if call.is_left:
            return
        call.answer = answer_with_their_labels(answered, call.labels)
        call.mailbox.put(render_json(call.answer))
        call.mailbox.finish()

    def _notify(self, notified: Notified) -> None:
        token = progress_label(notified)
        if token is not None:
            self._notify_progress(notified, token)
            return
        call = self._pending.get(subscription_label(notified) or 0)
        if call is None or call.method != STANDING_STREAM:
            self._unlabelled(notified)
            return
        call.mailbox.put(render_json(notification_with_their_labels(notified, call.labels)))
        if notified.method == "notifications/cancelled":
            call.mailbox.finish()
            del self._pending[call.labels.ours]

    def _notify_progress(self, notified: Notified, token: int) -> None:
        call = self._pending.get(token)
        labels = self._tokens.get(token) if call is None else call.labels
        if labels is None or labels.progress_token is None:
            self._ignore("progress of nothing that was asked")
            return
        restored = notification_with_their_labels(notified, labels)
        if call is not None:
            call.mailbox.put(render_json(restored))
        elif token not in self._cancelled:
            # Work may go on after the answer, as a task's does.
            self._unlabelled(Notified(notified.method, restored["params"], restored))

    def _write(self, message: Mapping[str, Any]) -> None:
        if self._over is not None:
            raise self._over
        self._child.write(render_line(message))

    def _ignore(self, what: str) -> None:
        self._child.complain(f"wrote {what}; it is ignored")


def _remember(kept: OrderedDict[int, T], ours: int, value: T) -> None:
    kept[ours] = value
    if len(kept) > MAX_REMEMBERED:
        kept.popitem(last=False)


def _cancelled(ours: int, reason: object) -> dict[str, Any]:
    params: dict[str, Any] = {"requestId": ours}
    if isinstance(reason, str):
        params["reason"] = reason
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
