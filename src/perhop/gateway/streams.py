"""Streams: when an answer must stop although it has not ended, and what its last words are.

A standing stream ends with the token that opened it, or when the gateway stops; an answer ends with its token's
revocation, with its task if that is superseded or ended, or when it has taken too long, but not because its token
expired meanwhile. When the gateway stops, an answer gets some time to end.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from perhop.core.call import Call, CallKind
from perhop.core.decision import Permit
from perhop.core.task import Task
from perhop.core.token import BoundToken
from perhop.errors import AnswerTooLong, Refused, TokenExpired, Unavailable, UpstreamUnavailable
from perhop.gateway.answer import Piece
from perhop.gateway.gate import Gate
from perhop.gateway.revocation_watch import RevocationWatch
from perhop.gateway.sse import comment, message_event
from perhop.gateway.timer_wheel import timer_wheel
from perhop.rules.mcp_methods import STANDING_STREAM
from perhop.rules.refusal_body import stream_end_body

T = TypeVar("T")

CUT = "cut"


def is_standing(call: Call) -> bool:
    """True for a call whose answer is a stream without an end of its own."""
    return call.kind is CallKind.STREAM or call.method == STANDING_STREAM


class Ending:
    """Watches one call from its forwarding on; steps of its answer run `before` the end. `stop` must be called."""

    __slots__ = (
        "_bound",
        "_check_task",
        "_clock",
        "_cut_by",
        "_fact",
        "_give_up",
        "_is_watched",
        "_revoked",
        "_slot",
        "_standing",
        "_step",
        "_task",
        "_until",
        "_wheel",
    )

    def __init__(
        self,
        bound: BoundToken,
        revoked: RevocationWatch,
        *,
        standing: bool,
        until: float,
        clock: Callable[[], float],
        check_task: Callable[[], None] | None = None,
        give_up: Callable[[], None] | None = None,
        task: asyncio.Task[Any] | None = None,
    ) -> None:
        self._bound = bound
        self._revoked = revoked
        self._standing = standing
        self._until = until
        self._clock = clock
        self._check_task = check_task
        self._give_up = give_up
        self._cut_by: Refused | Unavailable | None = None
        self._step: asyncio.Task[Any] | None = None
        self._task = task
        self._wheel = timer_wheel(None if task is None else task.get_loop())
        self._slot = 0
        self._is_watched = True
        revoked.begin(self)
        self._fact = self._find()
        if self._fact is not None:
            self.stop()

    @classmethod
    def of(
        cls,
        permit: Permit,
        gate: Gate,
        *,
        give_up: Callable[[], None] | None = None,
        task: asyncio.Task[Any] | None = None,
    ) -> Ending:
        """The ending of a permitted call. `give_up` ends the connection of a caller who takes nothing of the answer.

        `task` makes the answer, every step of it; None where that is asked at each.
        """
        standing = is_standing(permit.call)
        return cls(
            permit.bound,
            gate.revoked,
            standing=standing,
            until=_end_of(permit) if standing else gate.clock() + gate.limits.max_call_seconds,
            clock=gate.clock,
            check_task=None if permit.task is None else _task_check(permit.task, permit, gate, standing=standing),
            give_up=give_up,
            task=task,
        )

    async def before(self, step: Awaitable[T]) -> T:
        """Await a step; if the end comes first, drop the step and raise why.

        Raises: TokenExpired, TokenRevoked, TaskSuperseded, TaskExpired, AnswerTooLong, and what the step raises
        """
        if self._fact is not None:
            _never_begun(step)
            raise self._fact
        task = self._step = self._task or asyncio.current_task()
        if task is None:
            raise RuntimeError("an answer is made by a task")
        cancelling = task.cancelling()
        try:
            return await step
        except asyncio.CancelledError:
            # Ours if nobody else has cancelled the task, too.
            if self._cut_by is not None and task.uncancel() <= cancelling:
                raise self._cut_by from None
            raise
        finally:
            self._step = None

    def stop(self) -> None:
        """Stop watching. May be called more than once."""
        if self._is_watched:
            self._is_watched = False
            self._revoked.end(self)
            self._wheel.discard(self, self._slot)

    def look(self) -> None:
        """See whether the end has come."""
        if self._is_watched:
            fact = self._find()
            if fact is not None:
                self._end(fact)

    def time_is_up(self) -> None:
        """Called by the timer wheel: the time was measured by another clock, so it is looked at again."""
        self.look()

    def _find(self) -> Refused | Unavailable | None:
        """The fact that ends the call, once it is true; until then the wheel looks again when its time is up."""
        try:
            if self._check_task is not None:
                self._check_task()
            self._revoked.check(self._bound)
            self._revoked.check_stop(standing=self._standing)
        except (Refused, Unavailable) as fact:
            return fact
        remaining = self._until - self._clock()
        if remaining <= 0:
            return (
                TokenExpired("the stream outlived its token")
                if self._standing
                else AnswerTooLong("the call took too long")
            )
        if self._slot:
            self._wheel.discard(self, self._slot)
        self._slot = self._wheel.add(self, remaining)
        return None

    def _end(self, fact: Refused | Unavailable) -> None:
        self._fact = fact
        self.stop()
        if self._step is not None:
            self._cut_by = fact
            self._step.cancel()
        elif self._give_up is not None:
            self._give_up()  # between two steps: a caller who reads comes to the next one, and hears of it there


async def cut(
    pieces: AsyncIterator[Piece], ending: Ending, last: Callable[[Refused | Unavailable], Piece]
) -> AsyncIterator[Piece]:
    """Pass pieces on as they come, until the stream ends or has to.

    An upstream that breaks off leaves the stream without last words: a client of a handshake revision may resume it.
    """
    while True:
        try:
            piece = await ending.before(anext(pieces))
        except StopAsyncIteration:
            return
        except UpstreamUnavailable as broken:
            yield Piece(b"", broken.reason)
            return
        except (Refused, Unavailable) as fact:
            yield last(fact)
            return
        yield piece


def last_words(call: Call) -> Callable[[Refused | Unavailable], Piece]:
    """The last event of a stream that is cut: an error for the request, a comment where there is none."""

    def render(fact: Refused | Unavailable) -> Piece:
        if call.kind is not CallKind.REQUEST:
            return Piece(comment(fact.reason), CUT)
        return Piece(message_event(stream_end_body(fact, rpc_id=call.rpc_id, record=call.id)), CUT)

    return render


def _end_of(permit: Permit) -> int:
    """A stream without an end of its own ends with its token, or with its task if that is over sooner."""
    ends = permit.bound.expires_at
    return ends if permit.task is None else min(ends, permit.task.expires_at)


def _task_check(task: Task, permit: Permit, gate: Gate, *, standing: bool) -> Callable[[], None]:
    """Refuses to go on for a task that was superseded or ended; an answer may outlast a task whose time is over.

    What it gives raises: TaskOutside, TaskSuperseded, TaskExpired
    """

    def check() -> None:
        if standing or gate.clock() < task.expires_at:
            gate.tasks.check_token(permit.bound.token)

    return check


def _never_begun(step: Awaitable[object]) -> None:
    """A coroutine that nobody awaits would complain."""
    close = getattr(step, "close", None)
    if close is not None:
        close()
