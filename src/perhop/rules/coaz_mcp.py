"""What a question of AuthZEN means in MCP: by our own actions, or by method, as the binding COAZ-MCP has it.

The binding is a draft and ends with the methods of 2025-11-25; the rows of 2026-07-28 are ours. A method without a row
is denied, and what a method touches is told by the same table that the gateway goes by.

Spec: COAZ-MCP draft-1 §7
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from perhop.core.call import Action, Target
from perhop.errors import MethodUnknown, QuestionUnclear
from perhop.rules.authzen import AskedAction
from perhop.rules.mcp_methods import NOTIFICATIONS, REQUESTS, Era, MethodRule, method_rule


class Kind(StrEnum):
    """The kinds of thing that can be asked about: the words of the binding, and `server`, which is ours."""

    TOOL = "tool"
    PROMPT = "prompt"
    RESOURCE = "resource"
    TASK = "task"
    SERVER = "server"
    MCP_SERVER = "mcp_server"

    @property
    def is_server(self) -> bool:
        """True for the server itself, by either word."""
        return self in SERVERS


SERVERS = frozenset({Kind.SERVER, Kind.MCP_SERVER})

OWN_ACTIONS: Mapping[Action, frozenset[Kind]] = {
    Action.CALL_TOOL: frozenset({Kind.TOOL}),
    Action.GET_PROMPT: frozenset({Kind.PROMPT}),
    Action.READ_RESOURCE: frozenset({Kind.RESOURCE}),
    Action.LIST: SERVERS,
}
"""Our own words for what a call does. `issue` and `exchange` are the token endpoint's alone."""

Params = Mapping[str, Any]
_ParamsOf = Callable[[str, Params], Params]


def _by_name(name: str, _given: Params) -> Params:
    return {"name": name}


def _by_uri(name: str, _given: Params) -> Params:
    return {"uri": name}


def _no_params(_name: str, _given: Params) -> Params:
    return {}


def _prompt_reference(name: str, _given: Params) -> Params:
    return {"ref": {"type": "ref/prompt", "name": name}}


def _resource_reference(name: str, _given: Params) -> Params:
    return {"ref": {"type": "ref/resource", "uri": name}}


def _filter(_name: str, given: Params) -> Params:
    """The filter of a listen request, as `action.properties.notifications`."""
    return {"notifications": given.get("notifications", {})}


def _filter_of_one(name: str, _given: Params) -> Params:
    return {"notifications": {"resourceSubscriptions": [name]}}


_AT_THE_SERVER: Mapping[Kind, _ParamsOf] = dict.fromkeys(SERVERS, _no_params)
_A_TASKS_TOOL: Mapping[Kind, _ParamsOf] = {Kind.TOOL: _by_name}

BINDING: Mapping[str, Mapping[Kind, _ParamsOf]] = {
    "initialize": _AT_THE_SERVER,
    "ping": _AT_THE_SERVER,
    "logging/setLevel": _AT_THE_SERVER,
    "tools/list": _AT_THE_SERVER,
    "tools/call": {Kind.TOOL: _by_name},
    "prompts/list": _AT_THE_SERVER,
    "prompts/get": {Kind.PROMPT: _by_name},
    "resources/list": _AT_THE_SERVER,
    "resources/read": {Kind.RESOURCE: _by_uri},
    "resources/subscribe": {Kind.RESOURCE: _by_uri},
    "resources/unsubscribe": {Kind.RESOURCE: _by_uri},
    "completion/complete": {Kind.PROMPT: _prompt_reference, Kind.RESOURCE: _resource_reference},
    "tasks/list": _AT_THE_SERVER,
    "tasks/get": _A_TASKS_TOOL,
    "tasks/result": _A_TASKS_TOOL,
    "tasks/cancel": _A_TASKS_TOOL,
    # Beyond the binding: what it left out of 2025-11-25, and what 2026-07-28 added.
    "resources/templates/list": _AT_THE_SERVER,
    "server/discover": _AT_THE_SERVER,
    "tasks/update": _A_TASKS_TOOL,
    "subscriptions/listen": {**dict.fromkeys(SERVERS, _filter), Kind.RESOURCE: _filter_of_one},
    # DEVIATES: the binding lets every `notifications/*` pass. These are the ones that a gateway of ours passes on.
    **dict.fromkeys(NOTIFICATIONS, _AT_THE_SERVER),
}
"""Each method, and for each kind of thing that it may be asked about the params that say so."""

_ABOUT_TASKS = frozenset(method for method, kinds in BINDING.items() if kinds is _A_TASKS_TOOL)


def asked_targets(action: AskedAction, kind: Kind, name: str, *, era: Era | None) -> tuple[Target, ...]:
    """What a call would touch that does this to this thing. None of it: any caller in standing may.

    `era` is the caller's, None where the question does not say: then a method of either will do. What is asked of an
    McpTask is asked of the tool whose call opened it: which one that was is not known here.

    Spec: COAZ-MCP draft-1 §7
    Raises: MethodUnknown, QuestionUnclear, ParamsMalformed
    """
    if action.name in OWN_ACTIONS:
        own = Action(action.name)
        _check_kind(action.name, kind, OWN_ACTIONS[own])
        return (Target(own, "" if kind.is_server else _named(name)),)
    rule, kinds = _rule(action.name, era), BINDING.get(action.name)
    if kinds is None:
        raise MethodUnknown(f"method `{action.name[:64]}` has no row in the binding")
    _check_kind(action.name, kind, kinds)
    params = kinds[kind]("" if kind.is_server else _named(name), action.properties)
    if action.name in _ABOUT_TASKS:
        return (Target(Action.CALL_TOOL, name),)
    targets = rule.targets(params)
    if rule.tasks(params):
        raise QuestionUnclear("the filter names tasks: ask about the tools whose calls opened them")
    return targets


def asked_actions(kind: Kind) -> tuple[str, ...]:
    """Every action and method that can be asked about a thing of this kind."""
    own = (action.value for action, kinds in OWN_ACTIONS.items() if kind in kinds)
    return (*own, *(method for method, kinds in BINDING.items() if kind in kinds))


def _rule(method: str, era: Era | None) -> MethodRule:
    """Raises: MethodUnknown."""
    is_request = method not in NOTIFICATIONS
    if era is not None:
        return method_rule(method, era=era, is_request=is_request)
    rule = (REQUESTS if is_request else NOTIFICATIONS).get(method)
    if rule is None:
        raise MethodUnknown(f"method `{method[:64]}`")
    return rule


def _check_kind(action: str, kind: Kind, kinds: frozenset[Kind] | Mapping[Kind, Any]) -> None:
    if kind not in kinds:
        words = ", ".join(f"`{each}`" for each in sorted(kinds))
        raise QuestionUnclear(f"`{action[:64]}` is asked about {words}, not about `{kind}`")


def _named(name: str) -> str:
    if not name:
        raise QuestionUnclear("`resource.id` names nothing at the resource")
    return name
