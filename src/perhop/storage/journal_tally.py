"""Counting in the journal's file: statements over `facet` and `kind` alone, answered from their indexes."""
# ruff: noqa: S608 - statements are put together from the constants of this module; values are always bound

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from perhop.journal.facets import Facets
from perhop.journal.record import Event
from perhop.journal.tally import Asked, Selection, Sighting, Tally
from perhop.storage.journal_both_ends import HANDED_OUT, SENT
from perhop.storage.journal_facets import SELECTED, FacetReader
from perhop.storage.journal_reader import JournalQueries, is_kind, marks

_AT_ONCE = 500
_CACHE = "PRAGMA cache_size = -32768"  # 32 MiB: a count reads pages of one index in its order, some of them twice
_HOUR = 3_600_000_000

_COUNT = "SELECT kind, network, user_agent, count(*), min(time), max(time) FROM facet WHERE"
_GROUPS = "GROUP BY kind, network, user_agent"
_WINDOW = "time >= ? AND time < ?"
_TERM = "(SELECT id FROM term WHERE text = ?)"
_OF_AGENT = "(client = ? OR agent = ?)"

_Condition = tuple[str, list[Any]]


class JournalTallies(JournalQueries):
    """A TallyReader over a journal, or a copy of one."""

    def _check(self, connection: sqlite3.Connection) -> None:
        super()._check(connection)
        connection.execute(_CACHE)

    def tallies(self, selection: Selection) -> Iterator[Tally]:
        window = [selection.since or 0, selection.until if selection.until is not None else _FOR_EVER]
        for where, values in _conditions(selection):
            with self._reading() as connection:
                rows = connection.execute(f"{_COUNT} {where} AND {_WINDOW} {_GROUPS}", [*values, *window]).fetchall()
                facets = FacetReader(connection)
                for kind, network, user_agent, count, first, last in rows:
                    # A row of `facet` with the shared columns alone, in the order of `SELECTED`.
                    meant = facets.meant((None, None, None, None, None, None, network, user_agent, kind))
                    yield Tally(kind=meant or Facets(), count=count, first=first, last=last)

    def descendants(self, jti: str, *, limit: int) -> Sequence[str]:
        found = {jti: None}
        level = [jti]
        while level and len(found) < limit:
            children = dict.fromkeys(chain.from_iterable(map(self._children, _pages(level))))
            level = [each for each in children if each not in found]
            found |= dict.fromkeys(level)
        return list(found)[:limit]

    def sightings(self, jtis: Iterable[str], *, limit: int) -> Sequence[Sighting]:
        return self._sightings(jtis, "", [], limit=limit)

    def _sightings(
        self, jtis: Iterable[str], condition: str, values: Sequence[Any], *, limit: int
    ) -> Sequence[Sighting]:
        found: list[Sighting] = []
        for page in _pages(list(jtis)):
            with self._reading() as connection:
                facets = FacetReader(connection)
                of_these = f"SELECT seq, {SELECTED} FROM facet WHERE in_jti IN ({marks(page)})"
                rows = connection.execute(f"{of_these}{condition} ORDER BY seq LIMIT ?", [*page, *values, limit])
                found.extend(Sighting(seq, facets.meant(row) or Facets()) for seq, *row in rows)
        return sorted(found, key=lambda each: each.seq)[:limit]

    def past_gateway(self, jtis: Iterable[str], *, limit: int) -> Sequence[Sighting]:
        admitted = is_kind("event = ? AND client LIKE 'gateway:%' AND agent NOT LIKE 'gateway:%'")
        alone = f"+{admitted} AND NOT EXISTS ({SENT}) AND NOT EXISTS ({HANDED_OUT})"
        return self._sightings(jtis, f" AND {alone}", [Event.CALL_ADMITTED.value], limit=limit)

    def called_tools(self, resource: str) -> frozenset[str]:
        called = (
            "SELECT DISTINCT name FROM kind WHERE resource = ? AND event = ? AND method = 'tools/call' AND name <> ''"
            # A kind of no record is nothing that ever happened.
            " AND EXISTS (SELECT 1 FROM main.facet WHERE main.facet.kind = kind.id)"
        )
        with self._reading() as connection:
            return frozenset(name for (name,) in connection.execute(called, [resource, Event.CALL_PERMITTED.value]))

    def hourly_networks(self, agent: str, *, since: int, until: int) -> Sequence[tuple[int, int]]:
        return self._hourly("network", agent, since=since, until=until)

    def hourly_subjects(self, agent: str, *, since: int, until: int) -> Sequence[tuple[int, int]]:
        return self._hourly("person", agent, since=since, until=until)

    def _hourly(self, facet: str, agent: str, *, since: int, until: int) -> Sequence[tuple[int, int]]:
        statement = (
            f"SELECT DISTINCT time / {_HOUR}, {facet} FROM facet"
            f" WHERE {is_kind(f'event = ? AND {_OF_AGENT}')} AND {_WINDOW} AND {facet} IS NOT NULL"
        )
        values = [Event.CALL_PERMITTED.value, agent, agent, since, until]
        with self._reading() as connection:
            return sorted(Counter(int(hour) for hour, _ in connection.execute(statement, values)).items())

    def _children(self, parents: Sequence[str]) -> list[str]:
        statement = f"SELECT out_jti FROM facet WHERE in_jti IN ({marks(parents)}) AND out_jti IS NOT NULL GROUP BY 1"
        with self._reading() as connection:
            return [jti for (jti,) in connection.execute(statement, parents)]


_FOR_EVER = 2**62


def _conditions(selection: Selection) -> Iterator[_Condition]:
    """Conditions on `facet` that no row meets twice, and together every row of the selection."""
    match selection.kind:
        case Asked.TOKEN:
            for page in _pages(selection.values):
                yield f"in_jti IN ({marks(page)})", list(page)
        case Asked.AGENT:
            yield is_kind(_OF_AGENT), [*selection.values, *selection.values]
        case Asked.SUBJECT:
            yield f"person = {_TERM}", list(selection.values)
            yield f"person IS NULL AND {is_kind('client = ?')}", list(selection.values)
        case Asked.RESOURCE:
            name, *uris = selection.values
            yield is_kind(f"resource = ? OR in_aud IN ({marks(uris)})"), [name, *uris]


def _pages(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
