"""What a coroutine gives at once; and where it has to wait, the rest of it, for somebody who minds the time.

Most requests are whole when they come. A timer for each that is never due costs more than all of its checks.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AtOnce(Generic[_T]):
    """It did not wait."""

    value: _T


class Waiting(Generic[_T]):
    """It waits; whoever awaits this goes on with it. To be awaited once, on the task that began it."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, _T], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, _T]:
        waits_for = self._first
        try:
            while True:
                try:
                    sent = yield waits_for
                except BaseException as error:  # a cancellation is the coroutine's to see
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(sent)
        except StopIteration as end:
            value: _T = end.value
            return value


def begin(coroutine: Coroutine[Any, Any, _T]) -> AtOnce[_T] | Waiting[_T]:
    """Run a coroutine until it ends or waits. Raises what it raises."""
    try:
        first = coroutine.send(None)
    except StopIteration as end:
        return AtOnce(end.value)
    return Waiting(coroutine, first)
