"""A decision that the journal holds, as a question that can be asked again.

What a record does not hold, and what the configuration does not know any more, is told and never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perhop.core.authentication import Authentication
from perhop.core.call import Action, Target
from perhop.core.decision import Question
from perhop.core.registry import Registry
from perhop.policy.arguments import Visible, is_visible
from perhop.policy.outcome import Outcome
from perhop.rules.approval import asks_anew
from perhop.rules.mcp_methods import REQUESTS

PERMITTED = "call.permitted"
REFUSED = "call.refused"

_PERSON_PREFIX = "user:"
_WITH_ARGUMENTS = {"tools/call": Action.CALL_TOOL, "prompts/get": Action.GET_PROMPT}
_NAMING_ONE = {
    **_WITH_ARGUMENTS,
    **dict.fromkeys(("resources/read", "resources/subscribe", "resources/unsubscribe"), Action.READ_RESOURCE),
    # Decided as the call that had opened the task: the record has its tool, and not its arguments.
    **dict.fromkeys(("tasks/get", "tasks/cancel", "tasks/update", "tasks/result"), Action.CALL_TOOL),
}
_OF_TASKS = frozenset({"tasks/get", "tasks/cancel", "tasks/update", "tasks/result"})
_ASKING_NOTHING = frozenset({"initialize", "ping", "logging/setLevel", "server/discover"})
_LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why a recorded decision cannot be asked again, in words."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A decision as it was.

    `question.arguments` has those arguments that are known to have been there; `known` are the names of which it is
    known whether they were, and what; None: of all names. `asks_anew` is False for what only looked after an McpTask:
    it passes by the approval of the call that had opened it.
    """

    question: Question
    outcome: Outcome
    known: frozenset[str] | None
    asks_anew: bool = True

    def knows(self, names: frozenset[str]) -> bool:
        """True if it is known what these arguments were."""
        return self.known is None or names <= self.known


def target_of(method: str, name: str | None) -> Target | Unknown | None:
    """What a recorded message asked for; None if it was nothing that policy is asked about."""
    if method not in REQUESTS or method in _ASKING_NOTHING:
        return None
    if method in _NAMING_ONE:
        return Target(_NAMING_ONE[method], name) if name else Unknown("the record does not name what was asked for")
    if method.endswith("/list"):
        return Target(Action.LIST)
    return Unknown(f"a record does not hold all that `{method}` asks for")


def parse_decision(fields: Mapping[str, Any], registry: Registry, *, empty_mac: str) -> Recorded | Unknown | None:
    """The decision that a record holds; None if policy was not asked.

    `empty_mac` is what the journal writes for no arguments; empty if that is not known.
    """
    call, decision, inbound = _part(fields, "call"), _part(fields, "decision"), _part(fields, "in")
    method = call.get("method")
    if fields.get("event") not in (PERMITTED, REFUSED) or not decision or not isinstance(method, str):
        return None
    target = target_of(method, _text(call.get("name")))
    if not isinstance(target, Target):
        return target
    named = _known_names(fields, inbound, registry)
    if isinstance(named, Unknown):
        return named
    agent, server = named
    try:
        now = int(datetime.fromisoformat(fields["time"]).timestamp())
        actors = _chain(inbound.get("act"))
        hop = int(fields["hop"]) - ("out" in fields)
    except (KeyError, ValueError, TypeError):
        return Unknown("the record is not as Perhop writes it")
    arguments, known = _arguments(method, call, empty_mac)
    subject = _text(inbound.get("sub"))
    request = _part(fields, "request")
    return Recorded(
        question=Question(
            target=target,
            agent=agent,
            server=server,
            subject=subject if subject is not None and subject.startswith(_PERSON_PREFIX) else None,
            client_id=_text(inbound.get("client_id")) or "",
            actors=actors,
            scopes=frozenset((_text(inbound.get("scope")) or "").split()),
            hop=hop,
            now=now,
            arguments=arguments,
            tenant=_text(inbound.get("tenant")),
            ip=_text(request.get("ip")) or "",
            revision=_text(call.get("revision")) or "",
            session=_text(request.get("session")) or "",
            authentication=_authentication(inbound),
        ),
        outcome=_outcome(fields, decision),
        known=known,
        asks_anew=asks_anew(method),
    )


def _outcome(fields: Mapping[str, Any], decision: Mapping[str, Any]) -> Outcome:
    """What policy said. That a call passed, waits or was denied by a person is all the same to it."""
    if decision.get("approval") is not None:
        return Outcome.APPROVAL
    return Outcome.PERMIT if fields["event"] == PERMITTED else Outcome.DENY


def written_arguments(names: Iterable[str], seen: Mapping[str, Visible | None]) -> dict[str, Any]:
    """The arguments that the journal may hold, as it holds them: `null` was not there, `{}` policy could not read.

    `seen` is what policy sees. A long text is left out, as if its name were not listed.
    """
    written: dict[str, Any] = {}
    for name in names:
        value = seen.get(name)
        if not isinstance(value, str) or len(value) <= _LONGEST_TEXT:
            written[name] = {} if name in seen and value is None else value
    return written


def _arguments(
    method: str, call: Mapping[str, Any], empty_mac: str
) -> tuple[dict[str, Visible | None], frozenset[str] | None]:
    """The arguments that are known to have been there, and the names of which that is known; None: of all."""
    if method in _OF_TASKS:
        return {}, frozenset()
    if method not in _WITH_ARGUMENTS or (empty_mac and call.get("arguments_mac") == empty_mac):
        return {}, None
    written = _part(call, "arguments")
    there = {name: value if is_visible(value) else None for name, value in written.items() if value is not None}
    return there, frozenset(written)


def _known_names(
    fields: Mapping[str, Any], inbound: Mapping[str, Any], registry: Registry
) -> tuple[str, str] | Unknown:
    agent, server = _text(inbound.get("agent")), _text(fields.get("resource"))
    if agent is None or server is None:
        return Unknown("the record does not say who called what")
    if server not in registry.resources:
        return Unknown(f"the configuration has no resource `{server}` any more")
    if agent not in registry.clients:
        return Unknown(f"the configuration has no client `{agent}` any more")
    return agent, server


def _chain(act: Any) -> tuple[str, ...]:
    """The actors, the outermost first."""
    actors: list[str] = []
    while act is not None:
        actors.append(str(act["sub"]))
        act = act.get("act")
    return tuple(actors)


def _authentication(inbound: Mapping[str, Any]) -> Authentication:
    """Of a record from before tokens said so, it is known that they did not."""
    time = inbound.get("auth_time")
    return Authentication(time if type(time) is int else None, _text(inbound.get("acr")))


def _part(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
