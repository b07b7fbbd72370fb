"""An incident: what the records say of one token, for and against theft and overbroad authorization.

Never a bare verdict: signals with the records that they rest on, and a summary that follows from them by one rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, assert_never

from perhop.core.client import Authentication, ClientSecret, HashedSecret, NoAuthentication, PrivateKeyJwt
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.errors import SenderMismatch
from perhop.journal.blast_radius import BlastRadius
from perhop.journal.facets import facets_of, format_microseconds, parse_microseconds
from perhop.journal.investigate import family_of
from perhop.journal.query import Filter
from perhop.journal.record import Event
from perhop.journal.signals.overbroad import OVERBROAD
from perhop.journal.signals.signal import Direction, Facts, Habit, Side, Signal, Weight, was_served
from perhop.journal.signals.theft import THEFT
from perhop.journal.tally import Asked, Selection, Sighting, Tally, TallyReader

MAX_SIGHTINGS = 10_000
"""Records of one token that are looked at; a token lives for minutes."""

DAYS_OF_HABIT = 30
_DAY = 24 * 3_600_000_000
_SHARED = 3

STRONG = 3
"""What a strong signal counts, where a weak one counts 1."""

LEANS_FROM = 2
"""A side is spoken for from here on, after what speaks against it is taken off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """The token, as its records have it. Times are as in the journal, `expires_at` in seconds since the epoch."""

    jti: str
    txn: str | None
    audience: str | None
    resource: str | None
    subject: str | None
    agent: str | None
    client: str | None
    scopes: tuple[str, ...]
    family: str | None
    first_seen: str
    expires_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The signals of one side."""

    strong_for: int
    weak_for: int
    strong_against: int
    weak_against: int

    @property
    def is_spoken_for(self) -> bool:
        """True if what speaks for it outweighs what speaks against it."""
        speaks = STRONG * self.strong_for + self.weak_for
        return speaks - STRONG * self.strong_against - self.weak_against >= LEANS_FROM


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the signals come to. `leans`: `theft`, `overbroad`, `both`, `neither` or `not enough records`."""

    theft: Count
    overbroad: Count
    leans: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What `perhop incident` says. `since` and `until` bound the agent's earlier work that was looked at."""

    token: Suspect
    since: str
    until: str
    habit: Habit
    sightings: tuple[Sighting, ...]
    below: tuple[Sighting, ...]
    signals: tuple[Signal, ...]
    summary: Summary
    radius: BlastRadius

    def as_json(self) -> dict[str, Any]:
        """The object that `perhop incident --json` prints."""
        habit = self.habit
        return {
            "token": asdict(self.token),
            "rests_on": asdict(self.radius.rests_on),
            "habit": {
                "since": self.since,
                "until": self.until,
                "calls": habit.calls,
                "networks": dict(habit.networks),
                "user_agents": dict(habit.user_agents),
                "active_hours": habit.active_hours,
                "shared_hours": habit.shared_hours,
            },
            "signals": [asdict(each) for each in self.signals],
            "summary": asdict(self.summary),
            "blast_radius": self.radius.as_json(),
        }


def find_suspect(reader: TallyReader, jti: str, registry: Registry) -> Suspect:
    """What the journal knows of this token; it must know it (see `token_and_descendants`)."""
    entries = list(reader.find(Filter(jti=jti)))
    # The claims of the token, wherever it came in or went out; what an expired one says of itself is less.
    claims: dict[str, Any] = {}
    txn: str | None = None
    client: str | None = None
    family: str | None = None
    agent: str | None = None
    for entry in entries:
        for part in (entry.part("in"), entry.part("out")):
            if part.get("jti") == jti:
                claims = {**part, **claims}
        if entry.part("out").get("jti") == jti:
            # What was got by exchange names no agent in its record: the token before it does.
            agent = agent or entry.part("in").get("agent")
        txn = txn or entry.text("txn")
        if entry.fields.get("event") == Event.TOKEN_ISSUED.value and entry.part("out").get("jti") == jti:
            client, family = entry.text("client"), family_of(entry)
    resource = resource_addressed(registry, claims.get("aud"))
    client = client or claims.get("client_id")
    scope = claims.get("scope")
    return Suspect(
        jti=jti,
        txn=txn,
        audience=claims.get("aud"),
        resource=resource.name if resource is not None else None,
        subject=claims.get("sub"),
        agent=claims.get("agent") or agent or client,
        client=client,
        scopes=tuple(scope.split(" ")) if isinstance(scope, str) and scope else (),
        family=family,
        first_seen=min((time for each in entries if (time := each.text("time"))), default=format_microseconds(0)),
        expires_at=claims.get("exp"),
    )


def resource_addressed(registry: Registry, audience: object) -> Resource | None:
    """The resource that a token for this audience is good at: as its `uri`, or as its server's."""
    if not isinstance(audience, str):
        return None
    return registry.resource_at(audience) or registry.resource_served_at(audience)


def investigate(
    reader: TallyReader, suspect: Suspect, radius: BlastRadius, registry: Registry, *, since: int | None = None
) -> Incident:
    """Gather the facts and let every signal look at them. `since` bounds the agent's earlier work (else 30 days)."""
    until = parse_microseconds(suspect.first_seen) or 0
    start = since if since is not None else max(0, until - DAYS_OF_HABIT * _DAY)
    sightings = tuple(reader.sightings([suspect.jti], limit=MAX_SIGHTINGS))
    children = [each for each in radius.tokens if each != suspect.jti]
    below = tuple(reader.sightings(children, limit=MAX_SIGHTINGS))
    last = max((each.facets.time or 0 for each in (*sightings, *below)), default=until)
    habit = _habit(reader, suspect.agent, registry, since=start, until=until)
    agent = suspect.agent or ""
    facts = Facts(
        jti=suspect.jti,
        resource=suspect.resource,
        scopes=_judged(suspect, registry),
        credential=_credential(suspect, registry),
        sightings=sightings,
        below=below,
        other_keys=tuple(_other_keys(reader, suspect)),
        past_gateway=tuple(reader.past_gateway(radius.tokens, limit=MAX_SIGHTINGS)),
        reused=tuple(_reused(reader, suspect)),
        habit=habit,
        could=radius.could,
        subjects=_most(reader.hourly_subjects(agent, since=until, until=last + 1)),
        usual_subjects=_most(reader.hourly_subjects(agent, since=start, until=until)),
    )
    signals = look(facts)
    return Incident(
        token=suspect,
        since=format_microseconds(start),
        until=format_microseconds(until),
        habit=habit,
        sightings=sightings,
        below=below,
        signals=signals,
        summary=conclude(signals, is_seen=bool(sightings)),
        radius=radius,
    )


def look(facts: Facts) -> tuple[Signal, ...]:
    """Every signal that has something to say, theft first."""
    return tuple(signal for each in (*THEFT, *OVERBROAD) if (signal := each(facts)) is not None)


def conclude(signals: Sequence[Signal], *, is_seen: bool) -> Summary:
    """Count the signals, and say what they come to; a token that no record shows in use has no story."""
    theft, overbroad = _count(signals, Side.THEFT), _count(signals, Side.OVERBROAD)
    if not is_seen or not any(each.weight is Weight.STRONG for each in signals):
        leans = "not enough records"
    else:
        sides = [name for name, count in (("theft", theft), ("overbroad", overbroad)) if count.is_spoken_for]
        leans = "both" if len(sides) == 2 else sides[0] if sides else "neither"
    words = f"theft: {_words(theft)}; overbroad authorization: {_words(overbroad)}. {_CONCLUSIONS[leans]}"
    return Summary(theft=theft, overbroad=overbroad, leans=leans, words=words)


_CONCLUSIONS: Mapping[str, str] = {
    "theft": "The records speak for theft or replay, and not for overbroad authorization.",
    "overbroad": "The records speak for overbroad authorization, and not for theft.",
    "both": "The records speak for both: a token in other hands, and one that could do too much.",
    "neither": "The records speak for neither.",
    "not enough records": "There are not enough records to tell.",
}


def _count(signals: Iterable[Signal], side: Side) -> Count:
    found = Counter((each.weight, each.direction) for each in signals if each.side is side)
    return Count(
        strong_for=found[Weight.STRONG, Direction.FOR],
        weak_for=found[Weight.WEAK, Direction.FOR],
        strong_against=found[Weight.STRONG, Direction.AGAINST],
        weak_against=found[Weight.WEAK, Direction.AGAINST],
    )


def _words(count: Count) -> str:
    sides = (("for", count.strong_for, count.weak_for), ("against", count.strong_against, count.weak_against))
    return ", ".join(f"{_amount(strong, weak)} {direction}" for direction, strong, weak in sides)


def _amount(strong: int, weak: int) -> str:
    parts = [f"{number} {name}" for number, name in ((strong, "strong"), (weak, "weak")) if number]
    return " and ".join(parts) or "none"


def _other_keys(reader: TallyReader, suspect: Suspect) -> Iterator[Sighting]:
    """The uses of the token with a proof of another key, which only their bodies name."""
    wanted = Filter(jti=suspect.jti, reason=SenderMismatch.reason)
    for entry in islice(reader.find(wanted), MAX_SIGHTINGS):
        if entry.part("request").get("sender_key") is not None and entry.part("in").get("jti") == suspect.jti:
            yield Sighting(entry.seq, facets_of(entry.fields))


def _reused(reader: TallyReader, suspect: Suspect) -> Iterator[Sighting]:
    """The uses of a spent refresh token of the token's family. They name the family in their bodies only, and are few:
    each ends a family, or is of one that is over."""
    if suspect.family is None:
        return
    wanted = Filter(reason="refresh.reused", client=suspect.client)
    for entry in islice(reader.find(wanted), MAX_SIGHTINGS):
        if family_of(entry) == suspect.family:
            yield Sighting(entry.seq, facets_of(entry.fields))


def _habit(reader: TallyReader, agent: str | None, registry: Registry, *, since: int, until: int) -> Habit:
    """What the agent did before; an empty one if nobody knows whose token it is."""
    tallies: list[Tally] = []
    hourly: Sequence[tuple[int, int]] = ()
    if agent is not None:
        selection = Selection(kind=Asked.AGENT, values=(agent,), since=since, until=until)
        tallies = list(reader.tallies(selection))
        hourly = reader.hourly_networks(agent, since=since, until=until)
    permitted = [each for each in tallies if was_served(each.kind)]
    tools = frozenset((each.kind.resource or "", each.kind.name) for each in permitted if each.kind.name)
    return Habit(
        calls=sum(each.count for each in permitted),
        networks=_counted((each.kind.network, each.count) for each in permitted),
        user_agents=_counted((each.kind.user_agent, each.count) for each in permitted),
        hours=Counter(hour % 24 for hour, _ in hourly),
        tools=tools,
        scopes=_scopes_of(tools, registry),
        mismatches=frozenset(
            (each.kind.in_aud, each.kind.resource) for each in tallies if each.kind.reason == "audience.mismatch"
        ),
        active_hours=len(hourly),
        shared_hours=sum(networks >= _SHARED for _, networks in hourly),
    )


def _counted(pairs: Iterable[tuple[str | None, int]]) -> Mapping[str, int]:
    counted: Counter[str] = Counter()
    for name, count in pairs:
        if name is not None:
            counted[name] += count
    return dict(counted.most_common())


def _scopes_of(tools: Iterable[tuple[str, str]], registry: Registry) -> frozenset[tuple[str, str]]:
    return frozenset(
        (resource, scope.name)
        for resource, tool in tools
        if resource in registry.resources
        for scope in registry.resources[resource].scopes.values()
        if scope.lists(tool)
    )


def _judged(suspect: Suspect, registry: Registry) -> tuple[str, ...]:
    """The token's scopes that list tools; of the others no record says whether they were used."""
    resource = registry.resources.get(suspect.resource or "")
    if resource is None:
        return ()
    return tuple(name for name, scope in resource.scopes.items() if name in suspect.scopes and scope.tools)


def _credential(suspect: Suspect, registry: Registry) -> str | None:
    client = registry.clients.get(suspect.agent or "")
    return _kind_of(client.authentication) if client is not None else None


def _kind_of(authentication: Authentication) -> str:
    match authentication:
        case NoAuthentication():
            return "none"
        case ClientSecret() | HashedSecret():
            return "client_secret"
        case PrivateKeyJwt():
            return "private_key_jwt"
        case _:
            assert_never(authentication)


def _most(hourly: Sequence[tuple[int, int]]) -> int:
    return max((count for _, count in hourly), default=0)
