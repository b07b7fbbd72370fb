"""Times and states in the words of the pages."""

from __future__ import annotations

import time

from perhop.authorization_server.interaction.rendering import in_words
from perhop.errors import OperatorError


def at(seconds: int) -> str:
    """A moment, with its day: people look at pages later."""
    return time.strftime("%d %b %Y, %H:%M:%S UTC", time.gmtime(seconds))


def until(seconds: int, *, now: int) -> str:
    """A moment that is near: of today the hour is enough."""
    is_today = time.gmtime(seconds)[:3] == time.gmtime(now)[:3]
    return time.strftime("%H:%M:%S UTC", time.gmtime(seconds)) if is_today else at(seconds)


def left(end: int, *, now: int) -> str:
    """How long something still waits."""
    return in_words(max(0, end - now))


def ago(since: int, *, now: int) -> str:
    """How long ago something was."""
    return f"{in_words(max(0, now - since))} ago" if now - since > 1 else "just now"


def sentence(fact: OperatorError) -> str:
    """What is the case, and what to do, as a person reads it."""
    said = "; ".join(filter(None, (fact.problem, fact.advice()))).replace("`", "")
    return said[:1].upper() + said[1:] + "."
