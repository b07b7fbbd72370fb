"""Signals: what the records of a token say for or against a cause, and the facts from which that is concluded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from perhop.journal.blast_radius import Could
from perhop.journal.facets import Facets
from perhop.journal.record import Event
from perhop.journal.tally import Sighting
from perhop.rules.delegation import GATEWAY_PREFIX

ENOUGH_CALLS = 20
"""Fewer earlier calls of an agent are no habit: nothing is concluded from what they do not show."""

MAX_RECORDS = 20
"""Records that a signal names; the first ones."""

_USES = frozenset(
    {
        Event.CALL_ADMITTED.value,
        Event.CALL_PERMITTED.value,
        Event.CALL_REFUSED.value,
        Event.SESSION_REFUSED.value,
    }
)


class Side(StrEnum):
    """The causes that are told apart."""

    THEFT = "theft"
    OVERBROAD = "overbroad"


class Direction(StrEnum):
    """Which way a signal speaks."""

    FOR = "for"
    AGAINST = "against"


class Weight(StrEnum):
    """How much it says by itself: a weak one has an innocent reading that is as likely."""

    STRONG = "strong"
    WEAK = "weak"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One thing that speaks. `why` says what was seen and why it weighs so much; `records` are the `seq` it rests on,
    none where it rests on counts or on the configuration alone."""

    name: str
    side: Side
    direction: Direction
    weight: Weight
    why: str
    records: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """What the agent did before this token, in the time that was looked at: how often from where, with what, when.

    `tools` are resource and tool. `hours` are hours of the day, UTC; `shared_hours` counts the hours in which its calls
    came from three networks or more, of `active_hours`. `mismatches` are audiences and the resources that refused them.
    """

    calls: int
    networks: Mapping[str, int]
    user_agents: Mapping[str, int]
    hours: Mapping[int, int]
    tools: frozenset[tuple[str, str]]
    scopes: frozenset[tuple[str, str]]
    mismatches: frozenset[tuple[str | None, str | None]]
    active_hours: int
    shared_hours: int

    @property
    def is_known(self) -> bool:
        return self.calls >= ENOUGH_CALLS

    @property
    def is_shared(self) -> bool:
        """True if the agent's calls came from many networks at the same time all along."""
        return self.active_hours > 0 and self.shared_hours * 2 >= self.active_hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the signals look at. `sightings` are the records in which the token itself came in; `below` those of
    tokens that came from it. `other_keys` are those with a proof of another key than the token's. `past_gateway` are
    calls with it, or with those, that a server admitted and no gateway sent; `reused` uses of a spent refresh token of
    its family. `subjects` is the most people for whom the agent acted in one hour of the token's life,
    `usual_subjects` the most before."""

    jti: str
    resource: str | None
    scopes: tuple[str, ...]
    credential: str | None
    sightings: tuple[Sighting, ...]
    below: tuple[Sighting, ...]
    other_keys: tuple[Sighting, ...]
    past_gateway: tuple[Sighting, ...]
    reused: tuple[Sighting, ...]
    habit: Habit
    could: tuple[Could, ...]
    subjects: int
    usual_subjects: int

    def refused(self, reason: str) -> list[Sighting]:
        """The records in which the token was refused for this reason."""
        return [each for each in self.sightings if each.facets.reason == reason]

    def uses(self) -> list[Sighting]:
        """Every time that the token was presented with a call, whether it was permitted or not.

        Not what a server reports of a gateway's token: who presented it there is the gateway.
        """
        return [each for each in self.sightings if each.facets.event in _USES and not _is_gateways(each.facets)]

    def permitted(self, *, below: bool = False) -> list[Sighting]:
        """The calls that were permitted; with `below`, those of the tokens that came from it, too."""
        every = (*self.sightings, *self.below) if below else self.sightings
        return [each for each in every if was_served(each.facets)]

    def is_strange(self, sighting: Sighting) -> bool:
        """True for a network that this agent, whose habits are known, had not used before."""
        network = sighting.facets.network
        return self.habit.is_known and network is not None and network not in self.habit.networks


def was_served(facets: Facets) -> bool:
    """True for a call that went on: by the gateway's permit, or, where none stands in front, by the server's word."""
    if facets.event == Event.CALL_ADMITTED.value:
        return not _is_gateways(facets)
    return facets.event == Event.CALL_PERMITTED.value


def _is_gateways(facets: Facets) -> bool:
    return (facets.client or "").startswith(GATEWAY_PREFIX)


def seqs(sightings: Iterable[Sighting]) -> tuple[int, ...]:
    """The records that a signal names."""
    return tuple(sorted(each.seq for each in sightings)[:MAX_RECORDS])


def said(count: int, noun: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def listed(names: Sequence[str], *, most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
