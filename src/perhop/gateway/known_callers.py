"""Known callers: what followed from one Authorization value at one gate, kept for the next request with the same.

Only of bearer tokens whose holder was found in force, for the whole value as it came. What is here is no word that a
token is good: whoever takes it asks `Standing.holds` first, each time. A proof of possession is never kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from perhop.core.call import HeaderFields, Headers
from perhop.core.decision import InForce
from perhop.core.resource import Resource
from perhop.core.token import ProvedToken, VerifiedToken
from perhop.rules.lifetime import MAX_LIFETIME

GENERATION = 4096
"""Known at the most are twice as many: those that came lately, and those that came before these."""
LONGEST_VALUE = 4096


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
        self._young: dict[str, Known] = {}
        self._old: dict[str, Known] = {}
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
        found = None
        if type(headers) is HeaderFields:
            value = headers.by_name.get("authorization")
            if type(value) is str:  # it came once
                known = self._young.get(value) or self._old.get(value)
                if known is not None and known.resource is resource:
                    found = known
        self._asked = headers, resource, found
        return found

    def keep(self, headers: Headers, known: Known, *, now: int) -> None:
        """Keep what this value led to, and nothing of one that is too long.

        Those of before go when these are too many, or so long ago that none of those can still be good.
        """
        value = headers.by_name.get("authorization") if type(headers) is HeaderFields else None
        if type(value) is not str or len(value) > LONGEST_VALUE:
            return
        if len(self._young) >= self._generation or not 0 <= now - self._began <= MAX_LIFETIME:
            self._old, self._young, self._began = self._young, {}, now
        self._young[value] = known
        self._asked = None
