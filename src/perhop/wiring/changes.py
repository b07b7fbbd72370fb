"""What differs between two configurations, for people and for the record. No value is told: it may be secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from perhop.core.client import Client
from perhop.core.newcomer import TrustRule
from perhop.core.registry import Registry
from perhop.core.resource import SenderConstraint
from perhop.policy.policy_set import Policy, PolicySet
from perhop.settings import Settings

SETTINGS: Mapping[str, Callable[[Settings], object]] = {
    "console_url": lambda settings: settings.console_url,
    "policies": lambda settings: settings.policies_dir,
    "policy_review": lambda settings: settings.policy_review_required,
    "max_call": lambda settings: settings.max_call,
    "approval_wait": lambda settings: settings.approval_wait,
    "upstream_pool": lambda settings: settings.upstream_pool,
    "client_registration": lambda settings: settings.admission.registers,
}
"""The settings of the file's top level that stand for themselves and are put in force without a restart. Those of
`limits` are found by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object that was `added`, `removed` or `changed`; `members` are those that differ, dotted."""

    kind: str
    name: str
    change: str
    members: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "change": self.change, "members": list(self.members)}


def changes_between(old: Registry, new: Registry) -> tuple[Change, ...]:
    """Every owner, resource, client, hop, trusted issuer and way to sign in that is not as it was."""
    return (
        *_changes("owner", old.owners, new.owners),
        *_changes("resource", old.resources, new.resources),
        *_changes("client", old.clients, new.clients),
        *_changes("hop", _hops(old), _hops(new)),
        *_changes("issuer", old.trusted_issuers, new.trusted_issuers),
        *_changes("provider", old.sign_in.providers, new.sign_in.providers),
        *_changes("sign-in", _local_accounts(old), _local_accounts(new)),
    )


def changed_policies(old: PolicySet, new: PolicySet) -> tuple[Change, ...]:
    """Every policy that is not as it was; where it stands in which file does not count."""
    before, now = ({each.id: each for each in policies.policies} for policies in (old, new))
    return tuple(
        Change(kind="policy", name=name, change=_presence(name in before, name in now))
        for name in sorted({*before, *now})
        if name not in before or name not in now or _says(before[name]) != _says(now[name])
    )


def changed_rules(old: Mapping[str, TrustRule], new: Mapping[str, TrustRule]) -> tuple[Change, ...]:
    """Every rule for clients' documents that is not as it was, by its host."""
    return tuple(_changes("client_documents", old, new))


def changed_settings(old: Settings, new: Settings) -> tuple[Change, ...]:
    """Every setting of the top level that may change while Perhop serves, and does."""
    names = [name for name, value in SETTINGS.items() if value(old) != value(new)]
    if old.rate_limits != new.rate_limits:
        names += [f"limits.{each}" for each in _members(old.rate_limits, new.rate_limits)]
    return tuple(Change(kind="setting", name=name, change="changed") for name in names)


def narrowed_clients(old: Mapping[str, Client], new: Mapping[str, Client]) -> tuple[str, ...]:
    """Clients of both that may no longer ask for everything they could ask for before, bearer tokens among it."""
    both = [(client, new[name]) for name, client in old.items() if name in new]
    return tuple(
        now.id
        for before, now in both
        if any(not set(scopes) <= set(now.reaches.get(name, ())) for name, scopes in before.reaches.items())
        or not set(before.serves) <= set(now.serves)
        or (before.sender is SenderConstraint.ANY and now.sender is SenderConstraint.DPOP)
    )


def _presence(was: bool, is_now: bool) -> str:
    return "changed" if was and is_now else "added" if is_now else "removed"


def _says(policy: Policy) -> tuple[object, ...]:
    return policy.effect, policy.reason, policy.owner, policy.tree


def _changes(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        if name not in old or name not in new:
            yield Change(kind=kind, name=name, change=_presence(name in old, name in new))
        elif old[name] != new[name]:
            yield Change(kind=kind, name=name, change="changed", members=tuple(_members(old[name], new[name])))


def _members(old: Any, new: Any) -> Iterator[str]:
    for name in (each.name for each in fields(old)):
        before, now = getattr(old, name), getattr(new, name)
        if before == now:
            continue
        if is_dataclass(before) and type(before) is type(now):
            yield from (f"{name}.{each}" for each in _members(before, now))
        else:
            yield name


def _local_accounts(registry: Registry) -> Mapping[str, Any]:
    """There or not; it has no members that could differ."""
    return {"local accounts": True} if registry.sign_in.local_accounts else {}


def _hops(registry: Registry) -> Mapping[str, Any]:
    return {f"{hop.source} -> {hop.target}": hop for hop in registry.hops}
