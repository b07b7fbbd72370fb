"""What a draft of policies would have decided, for every decision that the journal holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from perhop.errors import OperatorError
from perhop.journal.facets import LONGEST_NAME, Facets
from perhop.journal.keys import load_journal_key
from perhop.journal.query import Entry
from perhop.journal.record import Event
from perhop.policy.engine import PolicyEngine
from perhop.policy.recorded import Recorded, Unknown, parse_decision, target_of
from perhop.policy.replay import Now, Replay
from perhop.rules.canonical_json import canonical_json
from perhop.settings import Settings
from perhop.storage.journal_decisions import DecisionWindow, JournalDecisions

FIRST = 3
"""So many records of each change are named."""

_MOST_ROWS = 10_000
_TOLD_EVERY = 10_000
_OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class About:
    """What is counted together: an agent, and what it asked for."""

    agent: str
    resource: str
    method: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """Decisions that the draft would make otherwise, and by which policies; none: nothing permits them."""

    about: About
    was: str
    now: str
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Untold:
    """Decisions of which it cannot be told what the draft makes of them, and why."""

    about: About
    why: str


@dataclass(frozen=True, slots=True)
class Where:
    """Where a decision stands in the journal."""

    seq: int
    time: str
    txn: str
    call: str


@dataclass(slots=True)
class Seen:
    """How many there were, and the first of them."""

    count: int = 0
    first: list[Where] = field(default_factory=list)


@dataclass(slots=True)
class ReplayReport:
    """What came of it. `not_asked` are calls that policy was not asked about, then or now."""

    not_asked: int = 0
    same: Counter[About] = field(default_factory=Counter)
    changed: dict[Change, Seen] = field(default_factory=dict)
    undecidable: dict[Untold, Seen] = field(default_factory=dict)

    @property
    def totals(self) -> dict[str, int]:
        """How many of each."""
        return {
            "same": self.same.total(),
            "changed": sum(each.count for each in self.changed.values()),
            "undecidable": sum(each.count for each in self.undecidable.values()),
            "not_asked": self.not_asked,
        }

    def rows(self) -> dict[About, dict[str, int]]:
        """The same by agent and what was asked for, those with most changes first."""
        found: dict[About, Counter[str]] = {about: Counter(same=count) for about, count in self.same.items()}
        for change, seen in self.changed.items():
            found.setdefault(change.about, Counter())["changed"] += seen.count
        for untold, seen in self.undecidable.items():
            found.setdefault(untold.about, Counter())["undecidable"] += seen.count
        ordered = sorted(found.items(), key=lambda row: (-row[1]["changed"], -row[1]["undecidable"], str(row[0])))
        return {about: {name: count[name] for name in ("same", "changed", "undecidable")} for about, count in ordered}


def replay(
    settings: Settings, draft: PolicyEngine, window: DecisionWindow, *, tell: Callable[[int], None]
) -> ReplayReport:
    """Ask the draft about every recorded decision of the window; `tell` hears how many are done. Reads files only.

    Raises: NotFound, JournalUnavailable, JournalDamaged
    """
    with JournalDecisions(settings.journal_path) as journal:
        asked = _Asked(settings, draft, with_approvals=journal.resources_with_approvals())
        kinds = journal.kinds(window)
        alike = {kind.first: kind for kind in kinds if asked.is_decided_by_kind(kind.facets)}
        done = 0
        for entry in journal.records(sorted(alike)):
            kind = alike[entry.seq]
            asked.take(entry, kind.count, partial(journal.first_of_kind, kind.id, window, limit=FIRST))
            done += kind.count
            tell(done)
        others = [kind.id for kind in kinds if kind.first not in alike]
        for entry in journal.of_kinds(others, window):
            asked.take(entry, 1, partial(list, (entry,)))
            done += 1
            if done % _TOLD_EVERY == 0:
                tell(done)
    return asked.report


class _Asked:
    """The draft, and what it has said until now."""

    def __init__(self, settings: Settings, draft: PolicyEngine, *, with_approvals: frozenset[str]) -> None:
        self._registry = settings.registry
        self._replay = Replay(draft)
        self._with_approvals = with_approvals
        self._empty_mac = _mac_of_nothing(settings)
        self.report = ReplayReport()

    def is_decided_by_kind(self, facets: Facets) -> bool:
        """True if one record of this kind stands for all."""
        # A refusal of this reason may have been made before policy was asked: only its record says so.
        if facets.event != Event.CALL_PERMITTED or len(facets.name or "") >= LONGEST_NAME:
            return False
        if facets.resource in self._with_approvals:  # so does whether a person had to approve a permitted call
            return False
        target = target_of(facets.method or "", facets.name)
        if target is None or isinstance(target, Unknown):
            return True
        agent, server = facets.agent or "", facets.resource or ""
        if agent not in self._registry.clients or server not in self._registry.resources:
            return True
        return self._replay.reads_of_a_kind_only(agent, server, target)

    def take(self, entry: Entry, count: int, first: Callable[[], Sequence[Entry]]) -> None:
        """Count so many records that are like this one, which is the first of them; `first` has a few more."""
        recorded = parse_decision(entry.fields, self._registry, empty_mac=self._empty_mac)
        match recorded:
            case None:
                self.report.not_asked += count
            case Unknown(why=why):
                _count(self.report.undecidable, Untold(self._about(entry), why), count, partial(list, (entry,)))
            case Recorded():
                self._compare(recorded, self._replay.ask(recorded), self._about(entry), count, first)

    def _compare(
        self, recorded: Recorded, now: Now | Unknown, about: About, count: int, first: Callable[[], Sequence[Entry]]
    ) -> None:
        match now:
            case Unknown(why=why):
                _count(self.report.undecidable, Untold(about, why), count, first)
            case Now(outcome=recorded.outcome):
                self.report.same[about] += count
            case Now(outcome=outcome, policies=policies):
                change = Change(about, recorded.outcome.value, outcome.value, policies)
                _count(self.report.changed, change, count, first)

    def _about(self, entry: Entry) -> About:
        call, inbound = entry.part("call"), entry.part("in")
        about = About(
            agent=str(inbound.get("agent", "")),
            resource=str(entry.fields.get("resource", "")),
            method=str(call.get("method", "")),
            name=str(call.get("name", "")),
        )
        report = self.report
        if about in report.same or len(report.same) + len(report.changed) + len(report.undecidable) < _MOST_ROWS:
            return about
        # Callers choose the names of tools: their number must not fill our memory.
        return About(agent=about.agent, resource=about.resource, method=about.method, name=_OTHERS)


_Key = TypeVar("_Key", Change, Untold)


def _count(counted: dict[_Key, Seen], key: _Key, count: int, first: Callable[[], Sequence[Entry]]) -> None:
    seen = counted.setdefault(key, Seen())
    seen.count += count
    room = FIRST - len(seen.first)
    if room > 0:
        seen.first.extend(
            Where(each.seq, each.text("time") or "", each.text("txn") or "", str(each.part("call").get("id", "")))
            for each in first()[:room]
        )


def _mac_of_nothing(settings: Settings) -> str:
    """What the journal writes for no arguments; empty where its key is not for us to read."""
    try:
        return load_journal_key(settings.keys_dir).mac(canonical_json({}))
    except (OperatorError, OSError):
        return ""
