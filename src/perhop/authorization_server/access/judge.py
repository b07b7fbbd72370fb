"""Judge: what the gateway would decide of the call that a question describes.

Standing, then scope, then the owner's approval of the tool, then policy: the gateway's order. Whether the caller's
token is good is not looked at: there is none. Unsure means no.

Spec: AuthZEN 1.0 §5.5
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from perhop.authorization_server.access.caller import Caller, read_caller
from perhop.authorization_server.access.place import Place, find_place
from perhop.authorization_server.issuer import Issuer
from perhop.core.call import Action, Target
from perhop.core.client import Client
from perhop.core.decision import Allow, Deny, NeedsApproval, Question
from perhop.errors import (
    ApprovalWanted,
    PolicyDenied,
    PolicyUndecidable,
    QuestionUnclear,
    Refused,
    ScopeInsufficient,
    TaskOutside,
    Unavailable,
)
from perhop.policy.arguments import type_arguments
from perhop.rules.authzen import Evaluation
from perhop.rules.canonical_json import canonical_json
from perhop.rules.coaz_mcp import asked_targets
from perhop.rules.mcp_methods import Era, era_of
from perhop.rules.reach import client_reach
from perhop.rules.scope import check_scopes_list

MAX_TARGETS = 20
"""A listen filter names several; each is a question to policy."""
MAX_SESSION_LENGTH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the context says of the call. `arguments` is None where nothing is said of them."""

    arguments: Mapping[str, Any] | None
    revision: str
    ip: str
    session: str

    @property
    def era(self) -> Era | None:
        return era_of(self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Yes with what permits it, or no with why; and what the question was, as far as it could be told."""

    action: str
    outcome: Allow | Refused | Unavailable
    place: Place | None = None
    caller: Caller | None = None
    circumstances: Circumstances | None = None

    @property
    def is_permit(self) -> bool:
        return isinstance(self.outcome, Allow)


class Judge:
    """Judges the questions of one request: of one client, by one configuration."""

    def __init__(self, client: Client, issuer: Issuer) -> None:
        self.client = client
        self._issuer = issuer
        self._reach: dict[str, Mapping[str, frozenset[str]]] = {}

    def judge(self, evaluation: Evaluation) -> Verdict:
        """The verdict on one question; a question that cannot be told is a no, not an exception."""
        action = evaluation.action.name
        place: Place | None = None
        caller: Caller | None = None
        circumstances: Circumstances | None = None
        try:
            place = find_place(evaluation.resource, self.client, self._issuer.registry)
            caller = read_caller(evaluation.subject, evaluation.context)
            circumstances = read_circumstances(evaluation)
            outcome: Allow | Refused | Unavailable = self._decide(evaluation, place, caller, circumstances)
        except (Refused, Unavailable) as fact:
            outcome = fact
        return Verdict(action=action, outcome=outcome, place=place, caller=caller, circumstances=circumstances)

    def reached_scopes(self, agent: str, resource: str) -> frozenset[str] | None:
        """Every scope that a token of this agent could have there; None if none of its tokens leads there."""
        if agent not in self._reach:
            client = self._issuer.registry.clients.get(agent)
            reached = client_reach(client, self._issuer.registry) if client is not None else ()
            self._reach[agent] = {each.resource.name: each.scopes for each in reached}
        return self._reach[agent].get(resource)

    def _decide(self, evaluation: Evaluation, place: Place, caller: Caller, circumstances: Circumstances) -> Allow:
        """Standing -> what is touched -> scope and approval -> policy.

        Raises: BearerRefused, PolicyRefused, QuestionUnclear, MethodUnknown, ParamsMalformed, OwnerMissing
        """
        issuer, resource = self._issuer, place.resource
        issuer.standing.check_caller(caller.agent, caller.client_id, resource, issuer.registry, now=issuer.now())
        targets = asked_targets(evaluation.action, place.kind, place.name, era=circumstances.era)
        if len(targets) > MAX_TARGETS:
            raise QuestionUnclear(f"more than {MAX_TARGETS} things in one question")
        self._check_reading(place)
        if caller.has_task:
            raise TaskOutside("a task is named, and what it has left is counted at the gateway alone")
        scopes = self._scopes(caller, place)
        for target in targets:
            if target.action is Action.CALL_TOOL:
                check_scopes_list(scopes, resource, target.name)
                issuer.tools.check_approved(resource.name, target.name)
        asked = list(self._questions(targets, place, caller, circumstances))
        allowed = [self._ask(question, circumstances) for question in asked]
        policies = tuple(dict.fromkeys(each for allow in allowed for each in allow.policies))
        return Allow(policies, issuer.policy.version)

    def _scopes(self, caller: Caller, place: Place) -> frozenset[str]:
        """The token's scopes; where they are not said, the most that any token of this agent could have there."""
        if caller.scopes is not None:
            return caller.scopes
        reached = self.reached_scopes(caller.agent, place.resource.name)
        if reached is None:
            needed = place.resource.advertised_scopes()
            raise ScopeInsufficient(needed[0] if needed else "", f"nothing leads `{caller.agent}` to this resource")
        return reached

    def _check_reading(self, place: Place) -> None:
        """Refuse an `id` that is a tool's whole name, and could as well be taken apart."""
        if place.other_name is not None and place.other_name in self._issuer.tools.names(place.resource.name):
            raise QuestionUnclear("a tool has this whole `id` for its name: say `server` in `resource.properties`")

    def _questions(
        self, targets: tuple[Target, ...], place: Place, caller: Caller, circumstances: Circumstances
    ) -> Iterator[Question]:
        """One for each target, with the arguments typed as the tool's schema has them. Raises: ParamsMalformed."""
        issuer, resource = self._issuer, place.resource
        for target in targets:
            is_call = target.action is Action.CALL_TOOL
            schema = issuer.tools.schema_of(resource.name, target.name) if is_call else None
            yield Question(
                target=target,
                agent=caller.agent,
                server=resource.name,
                subject=caller.person,
                client_id=caller.client_id,
                actors=caller.actors,
                scopes=caller.scopes or frozenset(),
                hop=caller.hop,
                now=issuer.now(),
                arguments=type_arguments(schema, circumstances.arguments or {}),
                tenant=resource.tenant,
                ip=circumstances.ip,
                revision=circumstances.revision,
                session=circumstances.session,
                authentication=caller.authentication,
            )

    def _ask(self, question: Question, circumstances: Circumstances) -> Allow:
        """Raises: PolicyDenied, PolicyUndecidable, ApprovalWanted."""
        policy = self._issuer.policy
        match decision := policy.decide(question):
            case Allow():
                self._check_whole(question, decision, circumstances)
                return decision
            case NeedsApproval():
                raise ApprovalWanted(
                    "an approval is good for one call, and this is none",
                    policies=decision.asking,
                    policy_version=decision.policy_version,
                )
            case Deny(failed=True):
                raise PolicyUndecidable(
                    decision.detail, policies=decision.policies, policy_version=decision.policy_version
                )
            case Deny():
                raise PolicyDenied(decision.detail, policies=decision.policies, policy_version=decision.policy_version)
            case _:
                assert_never(decision)

    def _check_whole(self, question: Question, allow: Allow, circumstances: Circumstances) -> None:
        """Refuse a yes that rests on less than the whole call."""
        policy = self._issuer.policy
        if circumstances.arguments is None and question.target.action is not Action.LIST:
            reading = policy.reading_arguments(question)
            if reading:
                raise PolicyUndecidable(
                    "policies read arguments, and nothing was said of them: `context.arguments`, `{}` for none",
                    policies=reading,
                    policy_version=allow.policy_version,
                )


def read_circumstances(evaluation: Evaluation) -> Circumstances:
    """The call's arguments, revision, address and session.

    Raises: QuestionUnclear
    """
    context = evaluation.context
    revision = _text(context, "protocol_version")
    if revision and era_of(revision) is None:
        raise QuestionUnclear("`context.protocol_version` is none that is served")
    return Circumstances(
        arguments=_arguments(context, evaluation.resource.properties),
        revision=revision,
        ip=_text(context, "ip"),
        session=_text(context, "session"),
    )


def _arguments(context: Mapping[str, Any], properties: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """From the context or from the resource's properties; where both speak they must say the same."""
    given = [each["arguments"] for each in (context, properties) if "arguments" in each]
    if not all(isinstance(each, dict) for each in given):
        raise QuestionUnclear("`arguments` is not an object")
    if len({canonical_json(each) for each in given}) > 1:
        raise QuestionUnclear("`arguments` is given twice, and differs")
    return given[0] if given else None


def _text(context: Mapping[str, Any], name: str) -> str:
    value = context.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_SESSION_LENGTH:
        raise QuestionUnclear(f"`context.{name}` is not a string of at most {MAX_SESSION_LENGTH} characters")
    return value
