"""Known callers: what followed from one Authorization value at one gate, kept for the next request with the same.

Only of bearer tokens whose holder was found in force, found by the SHA-256 of the whole value as it came: the value is
not kept. What is here is no word that a token is good: whoever takes it asks `Standing.holds` first, each time. A proof
of possession is never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from perhop.core.call import HeaderFields, Headers
from perhop.core.decision import InForce
from perhop.core.resource import Resource
from perhop.core.token import ProvedToken, VerifiedToken
from perhop.rules.lifetime import MAX_LIFETIME

GENERATION = 4096
"""Known at the most are twice as many: those that came lately, and those that came before these."""


@dataclass(frozen=True, slots=True)
class Known:
    """What one value led to. `seen` is what the checks went by: see `Standing.look`."""

    resource: Resource
    caller: VerifiedToken
    proved: ProvedToken
    in_force: InForce
    seen: object


class KnownCallers:
    """The known callers of one gate, in memory, for one process."""

    def __init__(self, *, generation: int = GENERATION) -> None:
        self._generation = generation
        self._young: dict[bytes, Known] = {}
        self._old: dict[bytes, Known] = {}
        self._began = 0
        # Three steps of a request ask in turn: whose headers are the very same hears the same.
        self._asked: tuple[Headers, Resource, Known | None] | None = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, headers: Headers, resource: Resource) -> Known | None:
        """What is kept of exactly this one value, at this very resource."""
        asked = self._asked
        if asked is not None and asked[0] is headers and asked[1] is resource:
            return asked[2]
        found, digest = None, _digest(headers)
        if digest is not None:
            known = self._young.get(digest) or self._old.get(digest)
            if known is not None and known.resource is resource:
                found = known
        self._asked = headers, resource, found
        return found

    def keep(self, headers: Headers, known: Known, *, now: int) -> None:
        """Keep what this value led to.

        Those of before go when these are too many, or so long ago that none of those can still be good.
        """
        digest = _digest(headers)
        if digest is None:
            return
        if len(self._young) >= self._generation or not 0 <= now - self._began <= MAX_LIFETIME:
            self._old, self._young, self._began = self._young, {}, now
        self._young[digest] = known
        self._asked = None


def _digest(headers: Headers) -> bytes | None:
    """Of the one `Authorization` value; None where none came, or several."""
    values = headers.by_name.get("authorization", ()) if type(headers) is HeaderFields else ()
    return sha256(values[0].encode("latin-1")).digest() if len(values) == 1 else None
