"""The answer on its way back: pieces of octets, and what each says of how the call ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from perhop.core.call import Headers


@dataclass(frozen=True, slots=True)
class Piece:
    """What is sent in one go. `error` is what the journal says of it: a JSON-RPC code, `tool_error` or `cut`."""

    octets: bytes
    error: str | None = None


class WholeAnswer(NamedTuple):
    """An answer that has come to its end: there is nothing to wait for, and nothing to close. `error` as of a piece."""

    status: int
    headers: Headers
    octets: bytes
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedAnswer:
    """An answer whose head is known. `close` may be called at any time, and more than once."""

    status: int
    headers: Headers
    pieces: AsyncIterator[Piece]
    close: Callable[[], Awaitable[None]]


Answer = WholeAnswer | StreamedAnswer
