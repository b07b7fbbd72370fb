"""From a question to Cedar's words: principal, action, resource, their entities, and the context.

Ids are configuration names. Every id travels as a value (`{"type", "id"}`), never as Cedar text, so no name of an
agent, a tool or a URI can be taken for syntax.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, assert_never

from cedarpy import pst

from perhop.core.call import Action, Target
from perhop.core.decision import Question
from perhop.core.registry import Registry

NEEDS_PERMIT = frozenset({Action.CALL_TOOL, Action.GET_PROMPT, Action.READ_RESOURCE})
"""The others only must not be forbidden."""

Uid = dict[str, str]
"""An entity id as Cedar's JSON has it: `{"type": ..., "id": ...}`."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who asks to do what to what: all of a question that does not change from call to call.

    `principal_line` and `resource_line` hold the principal and the resource themselves, and all that they are `in`.
    """

    principal: pst.EntityUid
    action: pst.EntityUid
    resource: pst.EntityUid
    principal_line: frozenset[pst.EntityUid]
    resource_line: frozenset[pst.EntityUid]
    entities: tuple[Mapping[str, Any], ...]


def mcp(type_name: str, name: str) -> pst.EntityUid:
    """An entity id of our namespace."""
    return pst.EntityUid(pst.EntityType(type_name, ("MCP",)), name)


def uid_value(uid: pst.EntityUid) -> Uid:
    """The id as a value, for requests and entities."""
    return {"type": str(uid.type), "id": uid.id}


def scene(agent: str, server: str, target: Target, registry: Registry) -> Scene:
    """The principal, the action and the resource of a question, with what the registry says of them.

    Who or what the registry does not know has no attributes: a policy that asks for one cannot be evaluated.
    """
    principal, principal_line, agent_entities = _agent(agent, registry)
    server_uid, server_line, server_entities = _server(server, registry)
    resource, item_entities = _item(target, server_uid)
    return Scene(
        principal=principal,
        action=mcp("Action", target.action.value),
        resource=resource,
        principal_line=principal_line,
        resource_line=server_line | {resource},
        entities=(*agent_entities, *server_entities, *item_entities),
    )


def person_entity(subject: str, groups: Iterable[str]) -> dict[str, Any]:
    """The person for whom an agent acts, with the groups that are known of them."""
    return {"uid": uid_value(mcp("User", subject)), "attrs": {"groups": sorted(groups)}, "parents": []}


def _subject(question: Question) -> Any:
    return {"__entity": uid_value(mcp("User", question.subject))} if question.subject else None


def _tenant(question: Question) -> Any:
    return {"__entity": uid_value(mcp("Tenant", question.tenant))} if question.tenant else None


def _task(question: Question) -> Any:
    """INVARIANT: what an agent says of itself permits nothing; only the purpose that a person approved is told.

    Its limits are told either way: they are no word that must be believed, since the gateway counts every call.
    """
    task = question.task
    if task is None:
        return None
    purpose = {"purpose": task.purpose} if task.is_approved else {}
    limits = {"max_calls": task.limits.calls, "max_writes": task.limits.writes}
    bounds = {name: limit for name, limit in limits.items() if limit is not None}
    return {"id": task.id, "approved": task.is_approved, **purpose, **bounds}


def _time(question: Question) -> datetime:
    return datetime.fromtimestamp(question.now, UTC)


def _ip(question: Question) -> Any:
    return {"__extn": {"fn": "ip", "arg": canonical_address(question.ip)}} if question.ip else None


CONTEXT_FACTS: Mapping[str, Callable[[Question], Any]] = {
    "subject": _subject,
    "actor": lambda asked: asked.actors[0] if asked.actors else None,
    "actors": lambda asked: list(asked.actors),
    "session": lambda asked: asked.session or None,
    "token.scopes": lambda asked: sorted(asked.scopes),
    "token.client_id": lambda asked: asked.client_id,
    "token.hop": lambda asked: asked.hop,
    "token.tenant": _tenant,
    "token.auth_time": lambda asked: asked.authentication.time,
    "token.acr": lambda asked: asked.authentication.acr,
    "task": _task,
    "request.time": lambda asked: asked.now,
    "request.hour": lambda asked: _time(asked).hour,
    "request.weekday": lambda asked: _time(asked).isoweekday(),
    "request.ip": _ip,
    "request.revision": lambda asked: asked.revision,
}
"""All of the context but the arguments, by the path under `context`; None is what is not there."""


def context(question: Question, arguments: Mapping[str, Any], *, only: Iterable[str] = CONTEXT_FACTS) -> dict[str, Any]:
    """The context of a question; `arguments` are those that policy may see.

    With `only`, of the rest no more than these paths, for policies that name no others.

    Raises ValueError for an address that is none: the engine closes on it.
    """
    shown: dict[str, Any] = {"arguments": arguments}
    for path in only:
        record, _, name = path.partition(".")
        value = CONTEXT_FACTS[path](question)
        if not name:
            if value is not None:
                shown[record] = value
            continue
        members = shown.setdefault(record, {})
        if value is not None:
            members[name] = value
    return shown


def canonical_address(text: str) -> str:
    """The address in the one spelling that ranges compare with: no zone, and IPv4 as IPv4. Raises ValueError."""
    return _known_address(text) if len(text) <= _LONGEST_ADDRESS else _address(text)


def _address(text: str) -> str:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


_known_address = lru_cache(maxsize=4096)(_address)
_LONGEST_ADDRESS = 64  # a zone may be of any length, and is not kept


def _agent(name: str, registry: Registry) -> tuple[pst.EntityUid, frozenset[pst.EntityUid], list[dict[str, Any]]]:
    uid = mcp("Agent", name)
    client = registry.clients.get(name)
    if client is None:
        return uid, frozenset({uid}), [_entity(uid)]
    owner = mcp("Owner", client.owner)
    return uid, frozenset({uid, owner}), [_entity(uid, owner, owner=owner)]


def _server(name: str, registry: Registry) -> tuple[pst.EntityUid, frozenset[pst.EntityUid], list[dict[str, Any]]]:
    uid = mcp("Server", name)
    resource = registry.resources.get(name)
    if resource is None:
        return uid, frozenset({uid}), [_entity(uid)]
    attributes: dict[str, Any] = {"owner": mcp("Owner", resource.owner), "risk": resource.risk.value}
    if resource.tenant is not None:
        attributes["tenant"] = mcp("Tenant", resource.tenant)
    parents = [each for each in attributes.values() if isinstance(each, pst.EntityUid)]
    return uid, frozenset({uid, *parents}), [_entity(uid, *parents, **attributes)]


def _item(target: Target, server: pst.EntityUid) -> tuple[pst.EntityUid, list[dict[str, Any]]]:
    """The tool, prompt or MCP resource, in its server; the server itself for the other actions."""
    name, full_name = target.name, f"{server.id}/{target.name}"
    match target.action:
        case Action.CALL_TOOL:
            uid = mcp("Tool", full_name)
            return uid, [_entity(uid, server, name=name, server=server)]
        case Action.GET_PROMPT:
            uid = mcp("Prompt", full_name)
            return uid, [_entity(uid, server, name=name, server=server)]
        case Action.READ_RESOURCE:
            uid = mcp("Resource", full_name)
            return uid, [_entity(uid, server, uri=name, server=server)]
        case Action.LIST | Action.EXCHANGE | Action.ISSUE:
            return server, []
        case _:
            assert_never(target.action)


def _entity(uid: pst.EntityUid, *parents: pst.EntityUid, **attributes: Any) -> dict[str, Any]:
    attrs = {
        name: {"__entity": uid_value(value)} if isinstance(value, pst.EntityUid) else value
        for name, value in attributes.items()
    }
    return {"uid": uid_value(uid), "attrs": attrs, "parents": [uid_value(parent) for parent in parents]}
