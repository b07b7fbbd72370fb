"""Find what is wrong in policy files, all of it at once, and what looks wrong beside the registry.

An error keeps the set from loading. A warning does not: a policy may come before the server that it speaks of. What is
said of a rule that never decides is certain; such a rule may be there and not be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cedarpy import pst

from perhop.core.call import Action, Target
from perhop.core.owner import Owner
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.policy.bodies import speaks_of_calls_at
from perhop.policy.covering import covering_approval, covering_forbid, same_but_for_the_id
from perhop.policy.declared import Schemas, undeclared
from perhop.policy.finding import Finding, Severity
from perhop.policy.never import why_never
from perhop.policy.policy_set import Policy, examine
from perhop.policy.vocabulary import NEEDS_PERMIT, scene
from perhop.rules.client_id_url import is_client_id_url

_ITEM_TYPES = ("Tool", "Prompt", "Resource")


def check(
    sources: Mapping[str, str], registry: Registry | None = None, schemas: Schemas | None = None
) -> list[Finding]:
    """Every error and warning of the policy files (name -> text), in the order of files and lines.

    Without a registry, nothing is said of names; without schemas of tools, nothing of arguments that they do not have.
    """
    policies, errors = examine(sources)
    findings = [*errors, *(finding for policy in policies for finding in _warnings(policy, registry))]
    findings += [*_about_each_other(policies, registry), *_without_owner(policies)]
    if registry is not None and schemas:
        findings += undeclared(policies, registry, schemas)
    if not errors and not any(_can_permit(policy) for policy in policies):
        findings.append(_nothing_permitted(sources))
    return sorted(findings, key=lambda finding: (finding.file, finding.line))


def _warnings(policy: Policy, registry: Registry | None) -> Iterator[Finding]:
    if policy.effect == "permit" and not _can_permit(policy):
        yield _warning(
            policy,
            "this permit has no effect: list, issue and exchange need none",
            "write a `forbid` to narrow them; `reaches`, consent and `hops` permit them",
        )
    if why := why_never(policy.tree):
        yield _warning(
            policy, f"this {policy.effect} can never be satisfied: {why}", "mend the condition, or take it out"
        )
    if registry is None:
        return
    if policy.owner and policy.owner not in registry.owners:
        yield _warning(
            policy,
            f"`@owner` `{policy.owner}` is not an owner of the configuration",
            _did_you_mean("Owner", set(registry.owners)),
        )
    yield from _not_approvable(policy, registry)
    for uid in sorted(pst.entity_uids(policy.tree), key=str):
        yield from _naming_warnings(policy, uid, registry)


def _naming_warnings(policy: Policy, uid: pst.EntityUid, registry: Registry) -> Iterator[Finding]:
    kind = uid.type.basename
    known: dict[str, set[str]] = {
        "Agent": set(registry.clients),
        "Server": set(registry.resources),
        "Owner": set(registry.owners),
        "Tenant": {each.tenant for each in registry.resources.values() if each.tenant is not None},
    }
    # A client whose document says what it is need not have come yet.
    is_newcomer = kind == "Agent" and is_client_id_url(uid.id)
    if kind in known and uid.id not in known[kind] and not is_newcomer:
        yield _warning(policy, f"`{uid}` is not in the configuration", _did_you_mean(kind, known[kind]))
    if kind in _ITEM_TYPES:
        server, slash, name = uid.id.partition("/")
        if not slash or not name:
            yield _warning(policy, f"`{uid}` names no server", f'write `MCP::{kind}::"SERVER/NAME"`')
        elif server not in registry.resources:
            yield _warning(
                policy, f"`{uid}`: no server `{server}` in the configuration", _did_you_mean("Server", known["Server"])
            )
        elif kind == "Tool" and _is_out_of_scope(registry.resources[server], name):
            yield _warning(
                policy,
                f"`{uid}`: no scope of `{server}` lists this tool, so no call of it comes to the policies",
                _did_you_mean("tool in its scopes", _listed(registry.resources[server])),
            )
    yield from _owning_nothing(policy, uid, registry)


def _owning_nothing(policy: Policy, uid: pst.EntityUid, registry: Registry) -> Iterator[Finding]:
    """An owner that a head asks for, and that has no client, or no resource, of its own."""
    if uid.type.basename != "Owner" or uid.id not in registry.owners:
        return
    owning: dict[str, tuple[Any, Iterable[str]]] = {
        "client": (policy.tree.principal, (each.owner for each in registry.clients.values())),
        "resource": (policy.tree.resource, (each.owner for each in registry.resources.values())),
    }
    for noun, (constraint, owners) in owning.items():
        if getattr(constraint, "entity", None) == uid and uid.id not in owners:
            yield _warning(policy, f"no {noun} belongs to `{uid}`: this {policy.effect} can never be satisfied", "")


def _about_each_other(policies: Sequence[Policy], registry: Registry | None) -> Iterator[Finding]:
    for policy, earlier in same_but_for_the_id(policies):
        place = f"{earlier.file}:{earlier.line}"
        yield _warning(policy, f"it says what `{earlier.id}` at {place} says", "take one of them out")
    for permit in policies:
        if permit.effect == "permit":
            yield from _about_permit(permit, policies, registry)


def _about_permit(permit: Policy, policies: Sequence[Policy], registry: Registry | None) -> Iterator[Finding]:
    """A permit that another policy makes void."""
    if (forbid := covering_forbid(permit, policies, registry)) is not None:
        yield _warning(
            permit,
            f"this permit has no effect: `{forbid.id}` at {forbid.file}:{forbid.line} forbids all that it permits",
            "take one of them out, or narrow the forbid",
        )
    elif _can_permit(permit) and (asking := covering_approval(permit, policies, registry)) is not None:
        yield _warning(
            permit,
            f"this permit has no effect: `{asking.id}` at {asking.file}:{asking.line} permits all that it permits, and "
            "wants an approval",
            "take this one out, or narrow the one with `@approval`",
        )


def _not_approvable(policy: Policy, registry: Registry) -> Iterator[Finding]:
    """A permit that wants an approval at servers whose owners have nobody to give it."""
    if not (policy.needs_approval and _can_permit(policy)):
        return
    listed = Target(Action.LIST)
    nobody = [
        each
        for each in registry.resources.values()
        if speaks_of_calls_at(policy.tree, scene("", each.name, listed, registry))
        and not why_never(policy.tree, each)
        and not _has_people(registry.owners.get(each.owner))
    ]
    if nobody:
        servers = ", ".join(f"`{each.name}`" for each in nobody)
        owners = ", ".join(f"`{each}`" for each in sorted({each.owner for each in nobody}))
        yield _warning(
            policy,
            f"nobody can give the approval that it wants for {servers}: {owners} has neither members nor deputies",
            "name a person under `members` or `deputies` of the owner",
        )


def _has_people(owner: Owner | None) -> bool:
    return owner is not None and bool(owner.members or owner.deputies)


def _without_owner(policies: Sequence[Policy]) -> Iterator[Finding]:
    """Permits that nobody answers for, in a set in which somebody answers for others."""
    if not any(policy.owner for policy in policies):
        return
    for policy in policies:
        if policy.effect == "permit" and not policy.owner:
            message, advice = "nobody answers for this permit", "others of this set have an `@owner`: name one"
            yield replace(_warning(policy, message, advice), severity=Severity.HINT)


def _is_out_of_scope(resource: Resource, tool: str) -> bool:
    return resource.lists_tools and resource.scope_for(tool) is None


def _listed(resource: Resource) -> set[str]:
    return {tool for scope in resource.scopes.values() for tool in scope.tools}


def _did_you_mean(kind: str, known: set[str]) -> str:
    if not known:
        return f"the configuration has no {kind.lower()}"
    names = sorted(known)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"the configuration has {', '.join(f'`{name}`' for name in names[:5])}{more}"


def _can_permit(policy: Policy) -> bool:
    """True for a permit whose head admits an action that needs one."""
    if policy.effect != "permit":
        return False
    match policy.tree.action:
        case pst.ActionEq(entity=entity):
            named: tuple[pst.EntityUid, ...] = (entity,)
        case pst.ActionIn(entities=entities):
            named = entities
        case _:
            return True
    return any(each.id in {action.value for action in NEEDS_PERMIT} for each in named)


def _nothing_permitted(sources: Mapping[str, str]) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        file=min(sources, default="policies"),
        line=1,
        policy="",
        message="no policy permits anything: every tool call is refused",
        advice="write a `permit`, or take the one that `perhop init` writes",
    )


def _warning(policy: Policy, message: str, advice: str) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        file=policy.file,
        line=policy.line,
        policy=policy.id,
        message=f"policy `{policy.id}`: {message}",
        advice=advice,
    )
