"""Record: the permit before the call goes on, the outcome when its answer has ended, a refusal in their stead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from perhop.core.call import Reply
from perhop.errors import JournalUnavailable, RateExceeded, Refused, Unavailable
from perhop.gateway.answer import Answer, StreamedAnswer, WholeAnswer
from perhop.gateway.gate import Journal
from perhop.gateway.trail import Trail
from perhop.rules.refusal_body import refusal_status

CANCELLED = "cancelled"

_log = logging.getLogger("perhop.gateway")


def record(trail: Trail, journal: Journal) -> Awaitable[int]:
    """Write the permit; whoever awaits this goes on when it is on disk, and only then is the call forwarded.

    Not async: every turn of the event loop would have to step through it.

    Raises: JournalUnavailable
    """
    return journal.append(trail.permit_record())


async def record_refusal(fact: Refused | Unavailable, trail: Trail, journal: Journal, *, now: float) -> None:
    """Leave one record of a refusal. A journal that cannot take it changes nothing: the answer is no anyway.

    What strangers are refused for may be counted with others of its kind, and so may a flood of somebody whom we know.
    """
    try:
        if trail.permit is not None:
            await journal.append(
                trail.end_record(status=refusal_status(fact), error=fact.reason, now=now, detail=fact.detail or None)
            )
        elif trail.caller is not None and not isinstance(fact, RateExceeded):
            await journal.append(trail.refusal_record(fact))
        else:
            await journal.append_refusal(trail.refusal_record(fact), address=trail.request.ip or "")
    except JournalUnavailable as failure:
        _log.error("a refusal was not recorded: %s", failure)


async def record_failure(failure: BaseException, trail: Trail, journal: Journal, *, now: float) -> None:
    """Leave a record of a request that has no answer: our own error, or a caller who went away."""
    gone = isinstance(failure, asyncio.CancelledError)
    if gone and trail.permit is None:
        return
    ended = trail.end_record(status=None, error=CANCELLED, now=now) if gone else trail.failure_record(failure, now=now)
    try:
        await journal.append(ended)
    except JournalUnavailable as unwritten:
        _log.error("a failure was not recorded: %s", unwritten)


def recording_its_end(answer: Answer, trail: Trail, journal: Journal, *, clock: Callable[[], float]) -> Reply:
    """The reply whose outcome is recorded when it ended, was cut, or the caller went away.

    A failure to write the outcome does not change the answer: the call stays without one, and is listed as such. So
    the answer does not wait for it either.
    """
    if isinstance(answer, StreamedAnswer):
        body = _RecordedBody(answer, trail, journal, clock)
        return Reply(status=answer.status, headers=answer.headers, body=body)
    ended = partial(_note_whole, answer, trail, journal, clock)
    return Reply(status=answer.status, headers=answer.headers, body=answer.octets, ended=ended)


def _note_whole(
    answer: WholeAnswer, trail: Trail, journal: Journal, clock: Callable[[], float], was_sent: bool
) -> None:
    _note(trail, journal, status=answer.status, error=answer.error if was_sent else CANCELLED, now=clock())


def _note(trail: Trail, journal: Journal, *, status: int, error: str | None, now: float) -> None:
    try:
        journal.note(trail.end_record(status=status, error=error, now=now))
    except JournalUnavailable as failure:
        _log.error("the outcome of call %s was not recorded: %s", trail.call_id, failure)


class _RecordedBody(AsyncIterator[bytes]):
    """The octets of an answer. `aclose` must be called; it records once, whatever has happened until then."""

    def __init__(self, answer: StreamedAnswer, trail: Trail, journal: Journal, clock: Callable[[], float]) -> None:
        self._answer = answer
        self._trail = trail
        self._journal = journal
        self._clock = clock
        self._error: str | None = CANCELLED
        self._last_error: str | None = None
        self._is_recorded = False

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._answer.pieces)
        except StopAsyncIteration:
            self._error = self._last_error
            await self.aclose()
            raise
        if piece.error is not None:
            self._last_error = piece.error
        return piece.octets

    async def aclose(self) -> None:
        """Let go of the upstream, and write how the call ended."""
        if self._is_recorded:
            return
        self._is_recorded = True
        try:
            await self._answer.close()
        finally:
            _note(self._trail, self._journal, status=self._answer.status, error=self._error, now=self._clock())
