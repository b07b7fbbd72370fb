"""The blast radius: what a token, an agent, a person or a resource could reach, did reach, and was refused.

Pure assembly: configuration says what is possible, policy what of it could be permitted, the journal what happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from perhop.errors import NotFound
from perhop.journal.archived_part import archived_part
from perhop.journal.checkpoint import CheckpointInvalid, parse_checkpoint
from perhop.journal.facets import Facets, format_microseconds
from perhop.journal.query import Filter
from perhop.journal.record import Event
from perhop.journal.tally import Asked, Selection, Tally, TallyReader
from perhop.rules.mentioned import mentioned
from perhop.rules.reach import Reached
from perhop.rules.scope import is_tool_in_scope

MAX_TOKENS = 10_000
MAX_NETWORKS = 20
"""Networks that are named; `network_count` says how many there are."""

_REFUSALS = (Event.CALL_REFUSED.value, Event.SESSION_REFUSED.value, Event.TOKEN_REFUSED.value)

MayCall = Callable[[Reached, str], bool]
"""Says of a tool at a reached resource whether policy could permit its call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Could:
    """A resource within reach. `tools` are patterns of the scopes, `permitted` the tools known by name that scope and
    policy could permit, `denied` the others that the scopes list."""

    resource: str
    uri: str
    hops: int
    scopes: tuple[str, ...]
    tools: tuple[str, ...]
    permitted: tuple[str, ...]
    denied: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Did:
    """Calls that were permitted. `outcomes`: how many ended how, by status and error, in the time asked about."""

    resource: str | None
    method: str | None
    name: str | None
    count: int
    first: str
    last: str
    outcomes: Mapping[str, int]
    agents: tuple[str, ...]
    networks: tuple[str, ...]
    network_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """Calls that a server says it admitted. What came through the gateway is among them, once more."""

    resource: str | None
    method: str | None
    name: str | None
    count: int
    first: str
    last: str
    networks: tuple[str, ...]
    network_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """Tokens that were issued, for an audience."""

    resource: str | None
    audience: str | None
    count: int
    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WasRefused:
    """What was refused: `audience` is the one of the token, `resource` where it was presented or asked for."""

    resource: str | None
    audience: str | None
    reason: str | None
    count: int
    first: str
    last: str
    networks: tuple[str, ...]
    network_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MerelyPossible:
    """Within reach, and not done: tools that could be permitted and were not called. `untouched`: nothing was."""

    resource: str
    tools: tuple[str, ...]
    untouched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rests:
    """What the answer rests on: the journal's size, and its last checkpoint, as it stands in the file, unverified.

    Only the records from `first` on are in the file; those before `archived_until` are not, if that is not None.
    """

    records: int
    signed: int
    root: str
    first: int
    archived_until: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the records alone say, in the order of resources."""

    did: tuple[Did, ...]
    reported: tuple[Reported, ...]
    got: tuple[Got, ...]
    refused: tuple[WasRefused, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """The answer, in the order of resources and times."""

    asked: Mapping[str, str | None]
    rests_on: Rests
    tokens: tuple[str, ...]
    could: tuple[Could, ...]
    did: tuple[Did, ...]
    reported: tuple[Reported, ...]
    got: tuple[Got, ...]
    refused: tuple[WasRefused, ...]
    possible: tuple[MerelyPossible, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `perhop blast-radius --json` prints."""
        return asdict(self)


@dataclass(slots=True)
class _Group:
    count: int = 0
    first: int = 0
    last: int = 0
    networks: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)

    def take(self, tally: Tally) -> None:
        self.first = min(self.first, tally.first) if self.count else tally.first
        self.last = max(self.last, tally.last)
        self.count += tally.count
        if tally.kind.network is not None:
            self.networks.add(tally.kind.network)
        if tally.kind.agent is not None:
            self.agents.add(tally.kind.agent)

    def span(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "first": format_microseconds(self.first),
            "last": format_microseconds(self.last),
        }

    def places(self) -> dict[str, Any]:
        return {"networks": tuple(sorted(self.networks)[:MAX_NETWORKS]), "network_count": len(self.networks)}


def rests_on(reader: TallyReader) -> Rests:
    """What whatever is read now rests on. Checks nothing: that is `verify_journal`."""
    records, note, part = reader.size(), reader.last_checkpoint(), archived_part(reader)
    held: dict[str, Any] = {"first": part.records + 1 if part else 1, "archived_until": part.until if part else None}
    try:
        checkpoint = parse_checkpoint(note or "")
    except CheckpointInvalid:
        return Rests(records=records, signed=0, root="", **held)
    return Rests(records=records, signed=checkpoint.size, root=checkpoint.root.hex(), **held)


def token_and_descendants(reader: TallyReader, jti: str) -> tuple[str, ...]:
    """The token and all that came from it.

    Raises: NotFound
    """
    if next(reader.find(Filter(jti=jti)), None) is None:
        raise NotFound(
            f"the journal knows no token `{mentioned(jti)}`", advice="`perhop token inspect` shows the `jti` of a token"
        )
    return tuple(reader.descendants(jti, limit=MAX_TOKENS))


def could_reach(reached: Iterable[Reached], reader: TallyReader, may_call: MayCall) -> tuple[Could, ...]:
    """What is within reach, with the tools whose names the scopes or the journal know."""
    return tuple(_could(each, reader.called_tools(each.resource.name), may_call) for each in reached)


def _could(reached: Reached, called: frozenset[str], may_call: MayCall) -> Could:
    resource = reached.resource
    literal = {tool for scope in resource.scopes.values() for tool in scope.tools if "*" not in tool}
    in_scope = sorted(tool for tool in called | literal if is_tool_in_scope(reached.scopes, resource, tool))
    permitted = tuple(tool for tool in in_scope if may_call(reached, tool))
    return Could(
        resource=resource.name,
        uri=resource.uri,
        hops=reached.hops,
        scopes=tuple(name for name in resource.scopes if name in reached.scopes),
        tools=reached.tools,
        permitted=permitted,
        denied=tuple(tool for tool in in_scope if tool not in permitted),
    )


def blast_radius(
    reader: TallyReader, selection: Selection, could: Sequence[Could], *, asked: Mapping[str, str | None]
) -> BlastRadius:
    """Count what was done and refused, and hold it against what is possible."""
    rests = rests_on(reader)
    counted = count(reader.tallies(selection))
    return BlastRadius(
        asked=asked,
        rests_on=rests,
        tokens=selection.values if selection.kind is Asked.TOKEN else (),
        could=tuple(could),
        did=counted.did,
        reported=counted.reported,
        got=counted.got,
        refused=counted.refused,
        possible=merely_possible(could, counted.did, counted.reported),
    )


def count(tallies: Iterable[Tally]) -> Counted:
    """What was done, got and refused, in the order of resources."""
    did: dict[tuple[str | None, str | None, str | None], _Group] = {}
    ended: dict[tuple[str | None, str | None, str | None], Counter[str]] = {}
    reported: dict[tuple[str | None, str | None, str | None], _Group] = {}
    got: dict[tuple[str | None, str | None], _Group] = {}
    refused: dict[tuple[str | None, str | None, str | None], _Group] = {}
    for tally in tallies:
        kind = tally.kind
        match kind.event:
            case Event.CALL_PERMITTED.value:
                did.setdefault((kind.resource, kind.method, kind.name), _Group()).take(tally)
            case Event.CALL_ENDED.value:
                outcomes = ended.setdefault((kind.resource, kind.method, kind.name), Counter())
                outcomes[_outcome(kind)] += tally.count
            case Event.CALL_ADMITTED.value:
                reported.setdefault((kind.resource, kind.method, kind.name), _Group()).take(tally)
            case Event.TOKEN_ISSUED.value:
                got.setdefault((kind.resource, kind.out_aud), _Group()).take(tally)
            case event if event in _REFUSALS:
                refused.setdefault((kind.resource, kind.in_aud, kind.reason), _Group()).take(tally)
    return Counted(
        did=tuple(_did(key, group, ended.get(key, Counter())) for key, group in _in_order(did)),
        reported=tuple(_reported(key, group) for key, group in _in_order(reported)),
        got=tuple(Got(resource=key[0], audience=key[1], **group.span()) for key, group in _in_order(got)),
        refused=tuple(
            WasRefused(resource=key[0], audience=key[1], reason=key[2], **group.span(), **group.places())
            for key, group in _in_order(refused)
        ),
    )


def merely_possible(
    could: Iterable[Could], did: Sequence[Did], reported: Sequence[Reported] = ()
) -> tuple[MerelyPossible, ...]:
    """What could be reached and was not, one entry a resource with anything left."""
    every: list[Did | Reported] = [*did, *reported]
    called = {(each.resource, each.name) for each in every}
    touched = {each.resource for each in every}
    left = (
        MerelyPossible(
            resource=each.resource,
            tools=tuple(tool for tool in each.permitted if (each.resource, tool) not in called),
            untouched=each.resource not in touched,
        )
        for each in could
    )
    return tuple(each for each in left if each.tools or each.untouched)


def _did(key: tuple[str | None, str | None, str | None], group: _Group, outcomes: Counter[str]) -> Did:
    return Did(
        resource=key[0],
        method=key[1],
        name=key[2],
        outcomes=dict(sorted(outcomes.items())),
        agents=tuple(sorted(group.agents)),
        **group.span(),
        **group.places(),
    )


def _reported(key: tuple[str | None, str | None, str | None], group: _Group) -> Reported:
    return Reported(resource=key[0], method=key[1], name=key[2], **group.span(), **group.places())


def _outcome(kind: Facets) -> str:
    return " ".join(str(each) for each in (kind.status, kind.error) if each is not None) or "unknown"


def _in_order(groups: Mapping[Any, _Group]) -> list[tuple[Any, _Group]]:
    return sorted(groups.items(), key=lambda each: tuple(part or "" for part in each[0]))
