"""Who acts for whom: the `act` chain of a token.

Spec: RFC 8693 §4.1
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """One link of an `act` chain; `actor` is the one before it, None at the innermost."""

    subject: str
    actor: Actor | None = None

    def chain(self) -> Iterator[str]:
        """Subjects from the outermost (the current actor) inwards."""
        link: Actor | None = self
        while link is not None:
            yield link.subject
            link = link.actor


@dataclass(frozen=True, slots=True)
class MayAct:
    """Whom a token allows to become its actor: `subjects` is never empty. Spec: RFC 8693 §4.4."""

    subjects: frozenset[str]
    issuer: str | None = None
