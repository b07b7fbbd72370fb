"""Streams: when an answer must stop although it has not ended, and what its last words are.

A standing stream ends with the token that opened it, or when the gateway stops; an answer ends with its token's
revocation, with its task if that is superseded or ended, or when it has taken too long, but not because its token
expired meanwhile. When the gateway stops, an answer gets some time to end.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from perhop.core.call import Call, CallKind
from perhop.core.decision import Permit
from perhop.core.token import BoundToken
from perhop.errors import AnswerTooLong, Refused, TokenExpired, Unavailable, UpstreamUnavailable
from perhop.gateway.answer import Piece
from perhop.gateway.gate import Gate
from perhop.gateway.revocation_watch import RevocationWatch
from perhop.gateway.sse import comment, message_event
from perhop.rules.mcp_methods import STANDING_STREAM
from perhop.rules.refusal_body import stream_end_body

T = TypeVar("T")

CUT = "cut"


def is_standing(call: Call) -> bool:
    """True for a call whose answer is a stream without an end of its own."""
    return call.kind is CallKind.STREAM or call.method == STANDING_STREAM


class Ending:
    """Watches one call from its forwarding on; steps of its answer run `before` the end."""

    def __init__(
        self,
        bound: BoundToken,
        revoked: RevocationWatch,
        *,
        standing: bool,
        until: float,
        clock: Callable[[], float],
        check_task: Callable[[], None] = lambda: None,
    ) -> None:
        self._task = asyncio.create_task(
            _wait_for_end(bound, revoked, standing=standing, until=until, clock=clock, check_task=check_task)
        )

    @classmethod
    def of(cls, permit: Permit, gate: Gate) -> Ending:
        """The ending of a permitted call."""
        standing = is_standing(permit.call)
        until = _end_of(permit) if standing else gate.clock() + gate.limits.max_call_seconds
        return cls(
            permit.bound,
            gate.revoked,
            standing=standing,
            until=until,
            clock=gate.clock,
            check_task=lambda: _check_task(permit, gate, standing=standing),
        )

    async def before(self, step: Awaitable[T]) -> T:
        """Await a step; if the end comes first, drop the step and raise why.

        Raises: TokenExpired, TokenRevoked, TaskSuperseded, TaskExpired, AnswerTooLong, and what the step raises
        """
        running = asyncio.ensure_future(step)
        try:
            await asyncio.wait({running, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            raise self._task.result()
        finally:
            await _drop(running)

    async def stop(self) -> None:
        """Stop watching."""
        await _drop(self._task)


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


async def _wait_for_end(
    bound: BoundToken,
    revoked: RevocationWatch,
    *,
    standing: bool,
    until: float,
    clock: Callable[[], float],
    check_task: Callable[[], None],
) -> Refused | Unavailable:
    """Return the fact that ends the call, when it comes true."""
    while True:
        try:
            check_task()
            revoked.check(bound)
            revoked.check_stop(standing=standing)
        except (Refused, Unavailable) as fact:
            return fact
        remaining = until - clock()
        if remaining <= 0:
            return (
                TokenExpired("the stream outlived its token") if standing else AnswerTooLong("the call took too long")
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(remaining):
                await revoked.changed()


def _end_of(permit: Permit) -> int:
    """A stream without an end of its own ends with its token, or with its task if that is over sooner."""
    ends = permit.bound.expires_at
    return ends if permit.task is None else min(ends, permit.task.expires_at)


def _check_task(permit: Permit, gate: Gate, *, standing: bool) -> None:
    """Refuse to go on for a task that was superseded or ended; an answer may outlast a task whose time is over.

    Raises: TaskOutside, TaskSuperseded, TaskExpired
    """
    task = permit.task
    if task is not None and (standing or gate.clock() < task.expires_at):
        gate.tasks.check_token(permit.bound.token)


async def _drop(task: asyncio.Future[T]) -> None:
    """Cancel what still runs and wait until it has stopped; what it says then is of no interest."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
