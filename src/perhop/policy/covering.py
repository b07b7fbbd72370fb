"""Policies that say the same, and permits of which others leave nothing: as far as their text tells for certain.

A condition is compared as it is written; two ways to write the same are two conditions here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cedarpy import pst

from perhop.core.call import Action
from perhop.core.registry import Registry
from perhop.policy.policy_set import Policy
from perhop.policy.reads import conjuncts
from perhop.policy.vocabulary import NEEDS_PERMIT, mcp

_TYPE_OF = {
    mcp("Action", Action.CALL_TOOL.value): mcp("Tool", "").type,
    mcp("Action", Action.GET_PROMPT.value): mcp("Prompt", "").type,
    mcp("Action", Action.READ_RESOURCE.value): mcp("Resource", "").type,
}
_ITEMS = frozenset(_TYPE_OF.values())


def same_but_for_the_id(policies: Iterable[Policy]) -> Iterator[tuple[Policy, Policy]]:
    """Each policy that says what an earlier one says, with that one."""
    seen: dict[object, Policy] = {}
    for policy in policies:
        tree = policy.tree
        says = (
            policy.effect,
            policy.needs_approval,
            policy.authentication,
            tree.principal,
            tree.action,
            tree.resource,
            frozenset(conjuncts(tree)),
        )
        earlier = seen.setdefault(says, policy)
        if earlier is not policy:
            yield policy, earlier


def covering_forbid(permit: Policy, policies: Iterable[Policy], registry: Registry | None) -> Policy | None:
    """A forbid that is satisfied whenever this permit is, so that the permit permits nothing."""
    return next((each for each in policies if each.effect == "forbid" and _covers(each, permit, registry)), None)


def covering_approval(permit: Policy, policies: Iterable[Policy], registry: Registry | None) -> Policy | None:
    """A permit that wants an approval and is satisfied whenever this one is, which wants none: it spares nobody one."""
    if permit.needs_approval:
        return None
    return next((each for each in policies if each.needs_approval and _covers(each, permit, registry)), None)


def _covers(wider: Policy, permit: Policy, registry: Registry | None) -> bool:
    """True if the wider policy, of either effect, is satisfied whenever the permit is."""
    wide, narrow = wider.tree, permit.tree
    return (
        _covers_actions(wide.action, narrow.action)
        and _covers_principal(wide.principal, narrow.principal, registry)
        and _covers_resource(wide.resource, narrow, registry)
        and set(conjuncts(wide)) <= set(conjuncts(narrow))
    )


def _covers_actions(wide: pst.ActionConstraint, narrow: pst.ActionConstraint) -> bool:
    return isinstance(wide, pst.ScopeAny) or _permitted_by(narrow) <= set(_named(wide))


def _permitted_by(constraint: pst.ActionConstraint) -> set[pst.EntityUid]:
    """The actions that need a permit and could have it by this head."""
    needing = {mcp("Action", action.value) for action in NEEDS_PERMIT}
    return needing if isinstance(constraint, pst.ScopeAny) else needing & set(_named(constraint))


def _named(constraint: pst.ActionConstraint) -> tuple[pst.EntityUid, ...]:
    match constraint:
        case pst.ActionEq(entity=entity):
            return (entity,)
        case pst.ActionIn(entities=entities):
            return entities
        case _:
            return ()


def _covers_principal(wide: Any, narrow: Any, registry: Registry | None) -> bool:
    match wide:
        case pst.ScopeAny() | pst.ScopeIs():
            return True  # every principal is an agent
        case pst.ScopeEq():
            return bool(wide == narrow)
        case pst.ScopeIn(entity=entity) | pst.ScopeIsIn(entity=entity):
            return entity in _within_agent(narrow, registry)
        case _:
            return False


def _within_agent(constraint: Any, registry: Registry | None) -> set[Any]:
    """What every agent that this admits is, or is in."""
    match constraint:
        case pst.ScopeEq(entity=pst.EntityUid() as entity):
            client = registry.clients.get(entity.id) if registry is not None else None
            return {entity} if client is None else {entity, mcp("Owner", client.owner)}
        case pst.ScopeIn(entity=entity) | pst.ScopeIsIn(entity=entity):
            return {entity}
        case _:
            return set()


def _covers_resource(wide: Any, narrow: pst.Template, registry: Registry | None) -> bool:
    match wide:
        case pst.ScopeAny():
            return True
        case pst.ScopeEq():
            return bool(wide == narrow.resource)
        case pst.ScopeIs(entity_type=entity_type):
            return _types_of(narrow) <= {entity_type}
        case pst.ScopeIn(entity=entity):
            return entity in _within_resource(narrow.resource, registry)
        case pst.ScopeIsIn(entity_type=entity_type, entity=entity):
            return _types_of(narrow) <= {entity_type} and entity in _within_resource(narrow.resource, registry)
        case _:
            return False


def _types_of(policy: pst.Template) -> set[pst.EntityType]:
    """The types that a permit could be about: those of its head, and those of its actions."""
    by_action = {_TYPE_OF[action] for action in _permitted_by(policy.action)}
    match policy.resource:
        case pst.ScopeEq(entity=pst.EntityUid() as entity):
            return by_action & {entity.type}
        case pst.ScopeIs(entity_type=entity_type) | pst.ScopeIsIn(entity_type=entity_type):
            return by_action & {entity_type}
        case _:
            return by_action


def _within_resource(constraint: Any, registry: Registry | None) -> set[Any]:
    """What everything that this admits is, or is in."""
    match constraint:
        case pst.ScopeEq(entity=pst.EntityUid() as entity):
            return {entity, *_around(_server_of(entity), registry)}
        case pst.ScopeIn(entity=pst.EntityUid() as entity) | pst.ScopeIsIn(entity=pst.EntityUid() as entity):
            return {entity, *_around(_server_of(entity), registry)}
        case _:
            return set()


def _server_of(entity: pst.EntityUid) -> str | None:
    if entity.type in _ITEMS:
        return entity.id.partition("/")[0]
    return entity.id if entity.type == mcp("Server", "").type else None


def _around(server: str | None, registry: Registry | None) -> Iterator[pst.EntityUid]:
    if server is None:
        return
    yield mcp("Server", server)
    resource = registry.resources.get(server) if registry is not None else None
    if resource is not None:
        yield mcp("Owner", resource.owner)
        if resource.tenant is not None:
            yield mcp("Tenant", resource.tenant)
