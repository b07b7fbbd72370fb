"""Recorded decisions, asked again of a draft: the same, changed, or not to be told from what was recorded.

The answer is remembered for every set of facts that the draft reads of a call, so a million records of the same kind
are decided once.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache

from perhop.core.call import Target
from perhop.core.decision import Question
from perhop.policy.engine import PolicyEngine, evaluate
from perhop.policy.outcome import Outcome
from perhop.policy.paths import FACTS, all_under, context_paths
from perhop.policy.recorded import Recorded, Unknown
from perhop.policy.slices import fits
from perhop.policy.vocabulary import context, scene

_MOST_REMEMBERED = 65_536
_MOST_THINGS = 16_384

_OF_A_KIND = frozenset({"token.client_id"})
"""Facts that all records of one kind share."""


@dataclass(frozen=True, slots=True)
class Now:
    """What the draft decides; `policies` are those that permit or refuse. An error is a `deny` here."""

    outcome: Outcome
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reads:
    """What the policies about one agent and one thing read. `unknown` is what no record tells, in words."""

    facts: tuple[str, ...]
    arguments: frozenset[str]
    unknown: str


class Replay:
    """A draft that recorded decisions are asked of."""

    def __init__(self, draft: PolicyEngine) -> None:
        self._draft = draft
        self._paths = {policy.id: context_paths(policy.tree) for policy in draft.policy_set.policies}
        self._reads_of = lru_cache(maxsize=_MOST_THINGS)(self._find_reads)
        self._answers: dict[Hashable, Now | Unknown] = {}

    def reads_of_a_kind_only(self, agent: str, server: str, target: Target) -> bool:
        """True if the draft decides alike on all calls of this agent, client and thing, whatever else was recorded."""
        reads = self._reads_of(agent, server, target)
        return not reads.unknown and not reads.arguments and _OF_A_KIND.issuperset(reads.facts)

    def ask(self, recorded: Recorded) -> Now | Unknown:
        """What the draft decides on a recorded question."""
        question = recorded.question
        reads = self._reads_of(question.agent, question.server, question.target)
        known = recorded.knows(reads.arguments)
        asked_for = sorted(reads.arguments & question.arguments.keys()) if known else ()
        key = (
            question.agent,
            question.server,
            question.target,
            tuple(FACTS[fact](question) for fact in reads.facts),
            known,
            # `true` and 1 are equal in Python, and not in Cedar.
            tuple((name, type(question.arguments[name]), question.arguments[name]) for name in asked_for),
        )
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= _MOST_REMEMBERED:
                self._answers.clear()
            answer = self._answers[key] = self._decide(question, reads, known=known)
        if isinstance(answer, Now) and answer.outcome is Outcome.APPROVAL and not recorded.asks_anew:
            return replace(answer, outcome=Outcome.PERMIT)
        return answer

    def _decide(self, question: Question, reads: _Reads, *, known: bool) -> Now | Unknown:
        if not reads.unknown and known:
            decision = self._draft.decide(question)
            outcome = Outcome.of(decision)
            return Now(Outcome.DENY if outcome is Outcome.ERROR else outcome, decision.policies)
        if not reads.unknown:
            # A forbid that a sign-in would take away has forbidden all the same.
            forbids = self._forbids(question)
            if forbids or not self._draft.may_permit(question):
                return Now(Outcome.DENY, forbids)
        return Unknown(reads.unknown or _not_recorded(reads.arguments))

    def _forbids(self, question: Question) -> tuple[str, ...]:
        """The forbids that are satisfied whatever the arguments were."""
        case = self._draft.case(question)
        found = evaluate(case, case.slice.widened, context(question, {}))
        return tuple(each for each in found.satisfied if case.slice.policies[each].effect == "forbid")

    def _find_reads(self, agent: str, server: str, target: Target) -> _Reads:
        about = scene(agent, server, target, self._draft.registry)
        policies = [each for each in self._draft.policy_set.policies if fits(each.tree, about)]
        paths = frozenset().union(*(self._paths[each.id] for each in policies))
        untold = sorted(path for path in paths if not all_under(path))
        facts = sorted(frozenset().union(*(all_under(path) for path in paths)))
        told = f"the draft reads `context.{untold[0]}`, which is not recorded" if untold else ""
        return _Reads(tuple(facts), frozenset().union(*(each.arguments for each in policies)), told)


def _not_recorded(arguments: frozenset[str]) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(arguments))
    return f"the draft reads the argument{'s' if len(arguments) > 1 else ''} {names}, not recorded"
