"""Decide a question by the policies in force.

`call_tool`, `get_prompt` and `read_resource` need a satisfied permit; `list`, `issue` and `exchange` only must not be
forbidden. Unsure means no: any error in the evaluation is a refusal, though Cedar would skip the policy that failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import cedarpy

from perhop.core.authentication import AuthenticationWanted, strictest
from perhop.core.call import Action, Target
from perhop.core.decision import Allow, Decision, Deny, NeedsApproval, Question
from perhop.core.registry import Registry
from perhop.policy.arguments import Visible
from perhop.policy.bodies import needs_body, speaks_of_calls_at
from perhop.policy.lasting import Lasting
from perhop.policy.needs import needs_of
from perhop.policy.policy_set import PolicySet
from perhop.policy.slices import Heads, Slice, handle_of_fitting, make_slice
from perhop.policy.vocabulary import NEEDS_PERMIT, Scene, canonical_address, context, person_entity, scene, uid_value
from perhop.policy.widen import without_arguments

_FAILED_POLICY = re.compile(r"error while evaluating policy `(?P<id>[^`]+)`")
# A caller chooses the names of tools and URIs, and who asks for others also address and session: neither their number
# nor their length may fill our memory.
_MOST_CASES = 4096
_MOST_SLICES = 1024
_MOST_PERSONS = 1024
MOST_KEPT = 32_768
"""Decisions of one engine."""
_LONGEST_NAMES = 256

_Answer = TypeVar("_Answer")
_render = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Cedar's answer: the policies that made its decision, those that failed, and each failure in Cedar's words.

    `messages` may hold values of a call: for the author of a policy, never for the journal.
    """

    allowed: bool
    satisfied: tuple[str, ...]
    failed: tuple[str, ...]
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is the same for every question of one agent about one thing: entities and policies, parsed.

    `request` is Cedar's request without its context. `is_kept` is False for one that is made anew for each question.
    """

    scene: Scene
    entities: cedarpy.Entities
    slice: Slice
    request: Mapping[str, Any]
    is_kept: bool


class _Kept(Generic[_Answer]):
    """Answers by case, and by what is told of a question. Answers and cases are bounded; what is full begins anew.

    INVARIANT: a case stands for policies, registry, agent, action and thing, and what is told beside it is all of the
    question that the policies of the case read. A case is equal to itself only, and is held here.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_case: dict[Case, dict[Hashable, _Answer]] = {}
        self._count = 0

    def find(self, case: Case, told: Hashable) -> _Answer | None:
        of_case = self._by_case.get(case)
        return None if of_case is None else of_case.get(told)

    def keep(self, case: Case, told: Hashable, answer: _Answer) -> None:
        of_case = self._by_case.get(case)
        if self._count >= self._most or (of_case is None and len(self._by_case) >= _MOST_CASES):
            self._by_case, self._count, of_case = {}, 0, None
        if of_case is None:
            of_case = self._by_case[case] = {}
        self._count += told not in of_case
        of_case[told] = answer


class PolicyEngine:
    """Answers questions by one policy set and one registry; a change of either is a new engine.

    What was decided is kept and given again to a question that is alike in everything that the policies about it read.
    A failure is never kept, nor what follows from the second, nor what callers sent: of arguments, only between which
    constants of the policies they lie.
    """

    def __init__(self, policy_set: PolicySet, registry: Registry, *, most_kept: int = MOST_KEPT) -> None:
        self.policy_set = policy_set
        self.registry = registry
        self.reads_groups = needs_of(policy_set.policies).groups
        """False if it makes no difference in which groups a person is."""
        self._policies = {policy.id: policy for policy in policy_set.policies}
        self._heads = Heads(policy_set.policies)
        self._case_of = lru_cache(maxsize=_MOST_CASES)(self._make_case)
        self._permits_of = lru_cache(maxsize=_MOST_SLICES)(self._make_permits)
        self._slice_of = lru_cache(maxsize=_MOST_SLICES)(self._make_slice)
        self._needing_body_at = lru_cache(maxsize=_MOST_SLICES)(self._find_needing_body)
        self._entities_with = lru_cache(maxsize=_MOST_PERSONS)(_make_entities_with)
        self._decisions: _Kept[Decision] = _Kept(most_kept)
        self._visible: _Kept[bool] = _Kept(most_kept)

    @property
    def version(self) -> str:
        """The version of the policies."""
        return self.policy_set.version

    def decide(self, question: Question) -> Decision:
        """Allow, NeedsApproval or Deny; a question that cannot be evaluated is a Deny, not an exception.

        Does not look at scopes, reach, consent or hops.
        """
        try:
            case = self._found(question)
            if question.ip:
                canonical_address(question.ip)  # what is no address is refused, whether or not a policy reads it
            key_of = case.slice.needs.key_of
            told = key_of(question) if key_of is not None and case.is_kept else None
            if told is None:
                return self._decide(question, case)
            decision = self._decisions.find(case, told)
            if decision is not None:
                return decision
            decision = self._decide(question, case)
        except Exception as error:  # whatever went wrong, nothing was decided: closed
            return self._failed((), f"the question could not be put: {type(error).__name__}")
        if not (isinstance(decision, Deny) and decision.failed):
            self._decisions.keep(case, told, decision)
        return decision

    def lasting(self, question: Question) -> Lasting | None:
        """Where to keep decisions on this question, whatever time it is; None if one might not last. Empty."""
        case = self._found(question)
        needs = case.slice.needs
        if not (needs.lasts and case.is_kept):
            return None
        return Lasting(self.registry.clients, question.agent, needs.class_of)

    def again(self, lasting: Lasting, arguments: Mapping[str, Any]) -> Allow | NeedsApproval | None:
        """What was decided before, if it still holds."""
        return lasting.find(arguments)

    def _decide(self, question: Question, case: Case) -> Decision:
        policies = case.slice
        shown: dict[str, Visible] = {}
        if policies.arguments:
            undecidable = policies.undecidable_for(question.arguments)
            if undecidable:
                return self._failed(undecidable, "a policy reads an argument whose value it cannot judge")
            shown = policies.shown(question.arguments)
        if question.groups is not None and policies.needs.groups:
            case = self._with_person(case, question)
        seen = context(question, shown, only=policies.needs.paths)
        result = evaluate(case, policies.exact, seen)
        if result.messages:
            return self._failed(result.failed, "a policy could not be evaluated")
        return self._judge(question, case, seen, result)

    def may_permit(self, question: Question) -> bool:
        """False only if no arguments could make the call permitted; for hiding items of a list.

        The question's own arguments are not looked at.
        """
        try:
            case = self._found(question)
            if question.ip:
                canonical_address(question.ip)
            key_of = case.slice.needs.key_without_arguments
            if key_of is None or not case.is_kept:
                return self._may_permit(question, case)[0]
            told = key_of(question)
            kept = self._visible.find(case, told)
            if kept is not None:
                return kept
            visible, is_sure = self._may_permit(question, case)
        except Exception:  # `decide` refuses for the same cause: the item is hidden
            return False
        if is_sure:
            self._visible.keep(case, told, visible)
        return visible

    def _may_permit(self, question: Question, case: Case) -> tuple[bool, bool]:
        """Whether some arguments could make it permitted, and whether all policies could be evaluated."""
        if question.groups is not None and case.slice.needs.groups:
            case = self._with_person(case, question)
        seen = context(question, {}, only=case.slice.needs.paths)
        result = evaluate(case, case.slice.widened, seen)
        is_sure = not result.messages
        forbids = tuple(each for each in result.satisfied if each in case.slice.forbids)
        if forbids and self._sign_in_for(forbids, question) is None:
            return False, is_sure
        # Who does not see a tool never calls it, and is never told that a new sign-in opens it.
        allowed = self._is_permitted_but_for_forbids(case, seen, widened=True) if forbids else result.allowed
        # Without the arguments, a policy that asks for some may fail where with them it would not.
        doubtful = [each for each in result.failed if self._policies[each].arguments]
        if len(doubtful) < len(result.messages):
            return False, is_sure
        hoped_for = [each for each in doubtful if each not in case.slice.forbids]
        return allowed or bool(hoped_for) or question.target.action not in NEEDS_PERMIT, is_sure

    def reason_of(self, policy: str) -> str:
        """The `@reason` of a policy; empty if it has none, or is not in force."""
        known = self._policies.get(policy)
        return known.reason if known is not None else ""

    def wanting_approval(self, server: str) -> tuple[str, ...]:
        """Ids of the policies that may be asked about a call at this server, and let it through only when approved."""
        there = scene("", server, Target(Action.LIST), self.registry)
        asking = (each for each in self.policy_set.policies if each.needs_approval)
        return tuple(each.id for each in asking if speaks_of_calls_at(each.tree, there))

    def needing_body(self, server: str) -> tuple[str, ...]:
        """Ids of the policies that may be asked about a call at this server, and want more of it than its headers."""
        return self._needing_body_at(server)

    def reading_arguments(self, question: Question) -> tuple[str, ...]:
        """Ids of the policies that may be asked this question, and look at the call's arguments."""
        return tuple(each for each, policy in self.case(question).slice.policies.items() if policy.arguments)

    def case(self, question: Question) -> Case:
        """The entities and the policies for a question."""
        case = self._found(question)
        return case if question.groups is None else self._with_person(case, question)

    def _found(self, question: Question) -> Case:
        """The case of a question, without its person."""
        agent, server, target = question.agent, question.server, question.target
        client = self.registry.clients.get(agent)
        # A client can become known, or another owner's, while the policies stay: then it is another case.
        owner = client.owner if client is not None else None
        if len(f"{agent}{server}{target.name}{question.ip}{question.session}") > _LONGEST_NAMES:
            return self._make_case(agent, owner, server, target.action, target.name, is_kept=False)
        return self._case_of(agent, owner, server, target.action, target.name)

    def _with_person(self, case: Case, question: Question) -> Case:
        if question.subject is None or question.groups is None:
            return case
        # A person whose groups are not known is an entity without them, which is what Cedar takes an unknown one for.
        return replace(case, entities=self._entities_with(case, question.subject, question.groups))

    def _make_case(
        self, agent: str, _owner: str | None, server: str, action: Action, name: str, *, is_kept: bool = True
    ) -> Case:
        asked = scene(agent, server, Target(action, name), self.registry)
        ids = self._heads.fitting(asked)
        entities = cedarpy.Entities.from_json_str(json.dumps(asked.entities))
        return Case(asked, entities, self._slice_of(ids), _request_of(asked), is_kept)

    def _find_needing_body(self, server: str) -> tuple[str, ...]:
        there = scene("", server, Target(Action.LIST), self.registry)
        policies = self.policy_set.policies
        return tuple(each.id for each in policies if needs_body(each) and speaks_of_calls_at(each.tree, there))

    def _make_slice(self, ids: tuple[str, ...]) -> Slice:
        return make_slice(tuple(self._policies[each] for each in ids))

    def _judge(self, question: Question, case: Case, seen: dict[str, Any], result: Evaluation) -> Decision:
        forbids = tuple(each for each in result.satisfied if each in case.slice.forbids)
        if forbids:
            return Deny(forbids, self.version, wanted=self._wanted(forbids, question, case, seen))
        if question.target.action not in NEEDS_PERMIT:
            return Allow((), self.version)
        if result.allowed:
            return self._permitted(result.satisfied, case.slice.asking)
        return Deny((), self.version, detail="no policy permits it")

    def _wanted(
        self, forbids: tuple[str, ...], question: Question, case: Case, seen: dict[str, Any]
    ) -> AuthenticationWanted | None:
        """The sign-in with which the same would be permitted. What nothing permits is no matter of signing in."""
        if question.target.action in NEEDS_PERMIT and not self._is_permitted_but_for_forbids(case, seen):
            return None
        return self._sign_in_for(forbids, question)

    def _sign_in_for(self, forbids: tuple[str, ...], question: Question) -> AuthenticationWanted | None:
        """The sign-in that takes all of these away, by their authors' word; None where that is none, or nobody's."""
        wanted = tuple(self._policies[each].authentication for each in forbids)
        known = tuple(each for each in wanted if each is not None)
        if question.subject is None or len(known) < len(wanted):
            return None
        return strictest(known)

    def _is_permitted_but_for_forbids(self, case: Case, seen: dict[str, Any], *, widened: bool = False) -> bool:
        return evaluate(case, self._permits_of(tuple(case.slice.policies), widened), seen).allowed

    def _make_permits(self, ids: tuple[str, ...], widened: bool) -> cedarpy.PolicySet:
        trees = (self._policies[each].tree for each in ids if not self._is_forbid(each))
        return handle_of_fitting(without_arguments(tree) if widened else tree for tree in trees)

    def _permitted(self, satisfied: tuple[str, ...], asking: frozenset[str]) -> Decision:
        """One permit that wants an approval is enough to need it, whatever the others say."""
        if asking.isdisjoint(satisfied):
            return Allow(satisfied, self.version)
        return NeedsApproval(satisfied, self.version, tuple(each for each in satisfied if each in asking))

    def _is_forbid(self, policy_id: str) -> bool:
        return self._policies[policy_id].effect == "forbid"

    def _failed(self, policies: tuple[str, ...], detail: str) -> Deny:
        return Deny(policies, self.version, failed=True, detail=detail)


def evaluate(case: Case, policies: cedarpy.PolicySet, question_context: dict[str, Any]) -> Evaluation:
    """Put a question to Cedar. No answer at all is an answer with a message and nothing allowed."""
    request = {**case.request, "context": _render(question_context)}
    answer = cedarpy.is_authorized_batch([request], policies, case.entities)[0]
    decision, diagnostics = answer.decision, answer.diagnostics
    messages = tuple(diagnostics.errors)
    if decision is cedarpy.Decision.NoDecision and not messages:
        messages = ("Cedar made no decision",)
    return Evaluation(
        allowed=decision is cedarpy.Decision.Allow,
        satisfied=tuple(sorted(diagnostics.reasons)),
        failed=_failed_in(messages) if messages else (),
        messages=messages,
    )


def _failed_in(messages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(match["id"] for match in map(_FAILED_POLICY.match, messages) if match))


def _request_of(asked: Scene) -> dict[str, Any]:
    return {
        "principal": uid_value(asked.principal),
        "action": uid_value(asked.action),
        "resource": uid_value(asked.resource),
    }


def _make_entities_with(case: Case, subject: str, groups: frozenset[str]) -> cedarpy.Entities:
    return case.entities.with_added_json_str(json.dumps([person_entity(subject, groups)]))
