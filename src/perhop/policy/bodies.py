"""Which policies cannot be asked about a call whose body is not there.

Told from the policy alone, and for every call that it may ever be asked about: unsure means that it wants the body.
"""

from __future__ import annotations

from typing import Any

from cedarpy import pst

from perhop.core.call import Action
from perhop.policy.policy_set import Policy
from perhop.policy.vocabulary import Scene, mcp

_CALLS = frozenset(
    mcp("Action", action.value) for action in (Action.CALL_TOOL, Action.GET_PROMPT, Action.READ_RESOURCE, Action.LIST)
)
_ITEMS = frozenset(mcp(name, "").type for name in ("Tool", "Prompt", "Resource"))


def needs_body(policy: Policy) -> bool:
    """True if the policy asks for an argument, or for an approval of the call as it is."""
    return bool(policy.arguments) or policy.needs_approval


def speaks_of_calls_at(tree: pst.Template, server: Scene) -> bool:
    """True unless the head of a policy admits no call at this server: of no tool, prompt or MCP resource, no list."""
    return _admits_a_call(tree.action) and _admits_one_of(tree.resource, server)


def _admits_a_call(constraint: pst.ActionConstraint) -> bool:
    match constraint:
        case pst.ActionEq(entity=entity):
            return entity in _CALLS
        case pst.ActionIn(entities=entities):
            return not _CALLS.isdisjoint(entities)
        case _:
            return True


def _admits_one_of(constraint: Any, server: Scene) -> bool:
    match constraint:
        case pst.ScopeEq(entity=entity):
            return entity == server.resource or _is_item_of(entity, server)
        case pst.ScopeIn(entity=entity):
            return entity in server.resource_line or _is_item_of(entity, server)
        case pst.ScopeIs(entity_type=entity_type):
            return entity_type == server.resource.type or entity_type in _ITEMS
        case pst.ScopeIsIn(entity_type=entity_type, entity=entity):
            is_there = entity in server.resource_line or _is_item_of(entity, server)
            return is_there and (entity_type == server.resource.type or entity_type in _ITEMS)
        case _:
            return True


def _is_item_of(entity: pst.EntityUid | pst.Slot, server: Scene) -> bool:
    """The names of servers hold no slash, so the first one ends the server's. A slot may stand for anything."""
    if isinstance(entity, pst.Slot):
        return True
    return entity.type in _ITEMS and entity.id.partition("/")[0] == server.resource.id
