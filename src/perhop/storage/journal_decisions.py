"""The journal's decisions by kind: counted from facets, and read record by record where that does not suffice."""
# ruff: noqa: S608 - statements are put together from the constants of this module; values are always bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from perhop.journal.facets import Facets
from perhop.journal.query import Entry
from perhop.journal.record import Event
from perhop.storage.journal_facets import FacetReader
from perhop.storage.journal_reader import JournalQueries, is_kind, marks

_AT_ONCE = 500
_FOR_EVER = 2**62
_WINDOW = "time >= ? AND time < ?"


@dataclass(frozen=True, slots=True)
class DecisionKind:
    """So many decisions that share these facets, and the number of the first of them."""

    id: int
    facets: Facets
    count: int
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionWindow:
    """Which decisions: from `since` (included) until `until`, in microseconds; of one agent, or of all."""

    since: int | None = None
    until: int | None = None
    agent: str | None = None

    @property
    def times(self) -> list[int]:
        return [self.since or 0, self.until if self.until is not None else _FOR_EVER]


class JournalDecisions(JournalQueries):
    """Reads the permits and refusals of calls."""

    def kinds(self, window: DecisionWindow) -> Sequence[DecisionKind]:
        """Every kind of decision in the window. Some of the refusals were not made by policy."""
        wanted, values = "event IN (?, ?)", [Event.CALL_PERMITTED.value, Event.CALL_REFUSED.value]
        if window.agent is not None:
            wanted, values = f"{wanted} AND agent = ?", [*values, window.agent]
        counted = f"SELECT kind, count(*), min(seq) FROM facet WHERE {is_kind(wanted)} AND {_WINDOW} GROUP BY kind"
        with self._reading() as connection:
            rows = connection.execute(counted, [*values, *window.times]).fetchall()
            facets = FacetReader(connection)
            return [
                DecisionKind(kind, meant, count, first)
                for kind, count, first in rows
                # A row of `facet` with the shared columns alone.
                if (meant := facets.meant((*(None,) * 8, kind))) is not None
            ]

    def resources_with_approvals(self) -> frozenset[str]:
        """The resources at which a call has ever waited for a person; kinds outlive the records that were archived."""
        found = "SELECT DISTINCT resource FROM kind WHERE event = ? AND resource IS NOT NULL"
        with self._reading() as connection:
            rows = connection.execute(found, [Event.APPROVAL_CHANGED.value]).fetchall()
        return frozenset(str(resource) for (resource,) in rows)

    def records(self, seqs: Sequence[int]) -> Iterator[Entry]:
        """The records of these numbers, in order."""
        for page in _pages(seqs):
            yield from self._entries(f"SELECT seq FROM record WHERE seq IN ({marks(page)})", page)

    def of_kinds(self, kinds: Sequence[int], window: DecisionWindow) -> Iterator[Entry]:
        """The records of these kinds in the window; those of some kinds after those of others."""
        for page in _pages(kinds):
            wanted = f"SELECT seq FROM facet WHERE kind IN ({marks(page)}) AND {_WINDOW}"
            yield from self._entries(wanted, [*page, *window.times])

    def first_of_kind(self, kind: int, window: DecisionWindow, *, limit: int) -> Sequence[Entry]:
        """The first records of one kind in the window."""
        first = f"SELECT seq FROM facet WHERE kind = ? AND {_WINDOW} ORDER BY seq LIMIT ?"
        return list(self._entries(first, [kind, *window.times, limit]))


def _pages(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
