"""Counting what the journal says of a token, an agent, a person or a resource: the question, and what is counted.

The SQL is in `perhop.storage.journal_tally`; it reads facets, never a body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from perhop.journal.facets import Facets
from perhop.journal.query import JournalReader


class Asked(StrEnum):
    """What one asks about."""

    TOKEN = "token"
    AGENT = "agent"
    SUBJECT = "subject"
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which records: those in which one of these tokens came in, or those of one agent, subject or resource.

    `values` are ids of tokens, or one client id, one `sub`, or a resource's name and audiences. An agent's records are
    those of its work, and those of tokens that it presented. `since` (included) and `until` are in microseconds.
    """

    kind: Asked
    values: tuple[str, ...]
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """So many records of one kind from one place. `kind` has the facets that they share, and no others."""

    kind: Facets
    count: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """One record, by its facets."""

    seq: int
    facets: Facets


class TallyReader(JournalReader, Protocol):
    """A JournalReader that counts, too."""

    def tallies(self, selection: Selection) -> Iterator[Tally]:
        """The records of the selection that have a time, by kind, network and user agent; the same may come again."""
        ...

    def descendants(self, jti: str, *, limit: int) -> Sequence[str]:
        """The token and those that came from it by exchange, at any depth, the nearest first; so many at most."""
        ...

    def sightings(self, jtis: Iterable[str], *, limit: int) -> Sequence[Sighting]:
        """The first records in which one of these tokens came in, in the order of `seq`."""
        ...

    def past_gateway(self, jtis: Iterable[str], *, limit: int) -> Sequence[Sighting]:
        """The first calls that a server admitted with one of these tokens of a gateway, and that no gateway sent."""
        ...

    def called_tools(self, resource: str) -> frozenset[str]:
        """The names of all tools whose call was ever permitted at this resource."""
        ...

    def hourly_networks(self, agent: str, *, since: int, until: int) -> Sequence[tuple[int, int]]:
        """Hours since the epoch in which calls of this agent were permitted, with the number of networks of each."""
        ...

    def hourly_subjects(self, agent: str, *, since: int, until: int) -> Sequence[tuple[int, int]]:
        """The same with the number of people for whom the agent's calls were permitted."""
        ...
