"""Joining permits and reports in the journal's file: statements over `facet` and `kind` alone."""
# ruff: noqa: S608 - statements are put together from the constants of this module; values are always bound

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perhop.journal.both_ends import Reporting, SeenAgain
from perhop.journal.query import Entry
from perhop.journal.record import Event
from perhop.storage.journal_reader import JournalQueries, is_kind, marks

_PERMITTED, _ADMITTED, _REFUSED = (
    Event.CALL_PERMITTED.value,
    Event.CALL_ADMITTED.value,
    Event.CALL_REFUSED.value,
)
_WINDOW = "facet.time >= ? AND facet.time < ?"
_OTHER = "SELECT 1 FROM facet AS other JOIN kind ON kind.id = other.kind WHERE"

# `+` keeps the column from being looked up by index: a call has a handful of records, a hop token may have thousands.
SENT = f"{_OTHER} other.call_id = facet.call_id AND +other.out_jti = facet.in_jti AND kind.event = '{_PERMITTED}'"
HANDED_OUT = f"{_OTHER} other.out_jti = facet.in_jti AND kind.event = '{_PERMITTED}' AND kind.data_plane IS NOT NULL"
"""Whoever carries the call for us may drop the id that we gave it: then the token is all that joins."""

_ARRIVED = (
    f"{_OTHER} other.call_id = facet.call_id AND +other.in_jti = facet.out_jti"
    f" AND kind.event IN ('{_ADMITTED}', '{_REFUSED}')"
)


class JournalBothEnds(JournalQueries):
    """A BothEndsReader over a journal, or a copy of one."""

    def reporting(self, *, since: int, until: int) -> Sequence[Reporting]:
        statement = (
            "SELECT kind.resource, count(*), max(facet.time) FROM facet JOIN kind ON kind.id = facet.kind"
            f" WHERE kind.event = ? AND {_WINDOW} AND kind.resource IS NOT NULL GROUP BY 1"
        )
        with self._reading() as connection:
            rows = connection.execute(statement, [_ADMITTED, since, until]).fetchall()
        return [Reporting(resource=name, admitted=count, last=last) for name, count, last in rows]

    def only_arrived(self, *, since: int, until: int) -> Iterator[Entry]:
        return self._entries(
            f"SELECT seq FROM facet WHERE {is_kind('event = ?')} AND {_WINDOW}"
            f" AND NOT EXISTS ({SENT}) AND NOT EXISTS ({HANDED_OUT})",
            [_ADMITTED, since, until],
        )

    def only_sent(self, resources: Sequence[str], *, since: int, until: int) -> Iterator[Entry]:
        ours = is_kind(f"event = ? AND data_plane IS NULL AND resource IN ({marks(resources)})")
        return self._entries(
            f"SELECT seq FROM facet WHERE {ours} AND {_WINDOW} AND out_jti IS NOT NULL AND NOT EXISTS ({_ARRIVED})",
            [_PERMITTED, *resources, since, until],
        )

    def seen_again(self, *, since: int, until: int) -> Sequence[SeenAgain]:
        statement = (
            "SELECT max(kind.resource), in_jti, call_id, count(*) FROM facet JOIN kind ON kind.id = facet.kind"
            f" WHERE kind.event = ? AND {_WINDOW} GROUP BY in_jti, call_id HAVING count(*) > 1"
        )
        with self._reading() as connection:
            rows = connection.execute(statement, [_ADMITTED, since, until]).fetchall()
        return [SeenAgain(resource=resource, jti=jti, call_id=of, count=count) for resource, jti, of, count in rows]
