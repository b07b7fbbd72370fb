"""Server-sent events: cut into whole events as they come, read as a client reads them, and written again.

As in WHATWG HTML §9.2.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from perhop.errors import AnswerUnfit

MAX_LINE_ENDS = 20_000
"""Of one event: an octet of a line costs nothing, but a line does. No server writes a message over so many."""

AT_ONCE = 50
"""Events that are handed on before others have their turn: a chunk may hold tens of thousands."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A line ends with CRLF, LF or CR; an event with an empty line. Where a CRLF is cut in two between chunks, the LF that
# is left begins the next event as an empty line, which means nothing.
_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_EVENT_END = re.compile(_LINE_END + _LINE_END)
_LONGEST_END = 4
_LINES = re.compile(rb"\r\n|\n|\r")
_NOT_COMMENT = re.compile(rb"[\r\n][^:\r\n]")
"""The beginning of a line that is none, if the first line is one: found at once, wherever it ends."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event as a client reads it: `data` is None if it has none, `id` None if it sets none."""

    raw: bytes
    data: bytes | None
    id: bytes | None


async def split_events(chunks: AsyncIterator[bytes], *, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield whole events with their empty line, each as soon as it has come; comments alone do not wait for one.

    What follows the last whole event is yielded at the end.

    Raises: AnswerUnfit
    """
    pending = bytearray()
    searched = count = 0
    is_first = may_be_comments = True
    async for chunk in chunks:
        pending += chunk
        if is_first and len(pending) >= len(_BYTE_ORDER_MARK):
            # A client skips a byte order mark; left in place it would hide the first line from us alone.
            is_first = False
            if pending.startswith(_BYTE_ORDER_MARK):
                del pending[: len(_BYTE_ORDER_MARK)]
        start = 0
        for end in [each.end() for each in _EVENT_END.finditer(pending, max(0, searched - _LONGEST_END))]:
            yield bytes(pending[start:end])
            start = end
            count += 1
            if not count % AT_ONCE:
                await asyncio.sleep(0)
        del pending[:start]
        searched = len(pending)
        if searched > max_bytes:
            raise AnswerUnfit(f"an event of more than {max_bytes} bytes")
        may_be_comments = may_be_comments or start > 0
        if may_be_comments and pending.endswith(b"\n"):
            # Looked at until anything else is found: from then on it is an event, to its end.
            may_be_comments = _is_only_comments(pending)
            if may_be_comments:
                yield bytes(pending)
                pending.clear()
                searched = 0
    if pending:
        yield bytes(pending)


def parse_event(raw: bytes) -> ServerEvent:
    """Read one event. As in WHATWG HTML §9.2.6.

    Raises: AnswerUnfit
    """
    if len(raw) > MAX_LINE_ENDS and raw.count(b"\n") + raw.count(b"\r") > MAX_LINE_ENDS:
        raise AnswerUnfit(f"an event of more than {MAX_LINE_ENDS} lines")
    data: list[bytes] = []
    event_id: bytes | None = None
    for line in _LINES.split(raw):
        name, value = _field(line)
        if name == b"data":
            data.append(value)
        elif name == b"id" and b"\x00" not in value:
            event_id = value
    return ServerEvent(raw, b"\n".join(data) if data else None, event_id)


def rewrite_event(event: ServerEvent, *, data: bytes | None, event_id: bytes | None) -> bytes:
    """The event with other data (one line) or another id; None leaves what is there."""
    if data is None and event_id is None:
        return event.raw
    lines: list[bytes] = []
    data_is_written = False
    for line in _LINES.split(event.raw):
        name, _ = _field(line)
        if name == b"id" and event_id is not None:
            lines.append(b"id: " + event_id)
        elif name == b"data" and data is not None:
            if not data_is_written:
                lines.append(b"data: " + data)
                data_is_written = True
        elif line:
            lines.append(line)
    return b"\n".join(lines) + b"\n\n"


def bare_id(event_id: bytes) -> bytes:
    """What is left of an event that does not pass: a client that resumes goes on after it."""
    return b"id: " + event_id + b"\n\n"


def message_event(data: bytes) -> bytes:
    """One JSON-RPC message as an event."""
    return b"event: message\ndata: " + data + b"\n\n"


def comment(text: str) -> bytes:
    """A comment: clients skip it, people who look at the wire do not."""
    return f": {text}\n\n".encode()


def _field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a line; a comment has an empty name."""
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")


def _is_only_comments(pending: bytearray) -> bool:
    if not pending.startswith(b":") or not pending.endswith(b"\n"):
        return False
    return _NOT_COMMENT.search(pending) is None
