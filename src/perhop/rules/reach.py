"""Reach: what a token could lead to by configuration alone, hop after hop. Policy may still forbid any of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perhop.core.client import Client
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.rules.delegation import MAX_CHAIN_DEPTH
from perhop.rules.scope import map_through_hop


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A resource, the scopes that can be had there, and the fewest hops that lead to it."""

    resource: Resource
    scopes: frozenset[str]
    hops: int = 0

    @property
    def tools(self) -> tuple[str, ...]:
        """The patterns of the tools that these scopes list, in the order of the configuration; `*` where none does."""
        if not self.resource.lists_tools:
            return ("*",)
        listed = (scope.tools for name, scope in self.resource.scopes.items() if name in self.scopes)
        return tuple(dict.fromkeys(pattern for patterns in listed for pattern in patterns))


def reach(start: Resource, scopes: frozenset[str], registry: Registry) -> tuple[Reached, ...]:
    """What a token for this resource with these scopes could lead to: the resource itself first, then nearest first.

    A chain has at most four hops, and is never twice at one resource, as the exchange has it.
    """
    found: dict[str, Reached] = {start.name: Reached(resource=start, scopes=scopes)}
    # Two ways over the same resources go on alike, so what they have is put together.
    ways: Mapping[tuple[str, frozenset[str]], frozenset[str]] = {(start.name, frozenset({start.name})): scopes}
    for hops in range(1, MAX_CHAIN_DEPTH + 1):
        ways = _longer(ways, registry)
        for (name, _), gained in ways.items():
            known = found.get(name) or Reached(resource=registry.resources[name], scopes=frozenset(), hops=hops)
            found[name] = Reached(resource=known.resource, scopes=known.scopes | gained, hops=known.hops)
    return tuple(found.values())


def _longer(
    ways: Mapping[tuple[str, frozenset[str]], frozenset[str]], registry: Registry
) -> dict[tuple[str, frozenset[str]], frozenset[str]]:
    """Every way with one hop more, where that hop gives any scope."""
    longer: dict[tuple[str, frozenset[str]], frozenset[str]] = {}
    for (source, passed), had in ways.items():
        for hop in registry.hops:
            if hop.source != source or hop.target in passed or hop.target not in registry.resources:
                continue
            gained = map_through_hop(had, hop)
            if gained:
                key = (hop.target, passed | {hop.target})
                longer[key] = longer.get(key, frozenset()) | gained
    return longer


def client_reach(client: Client, registry: Registry) -> tuple[Reached, ...]:
    """What this client could get tokens for: all that it reaches, and all that the servers it answers for hop to.

    As a server it can exchange only tokens that come to it, with the scopes that these have: here, every one.
    """
    own = [
        each
        for name, scopes in client.reaches.items()
        if name in registry.resources
        for each in reach(registry.resources[name], frozenset(scopes), registry)
    ]
    served = [
        each
        for name in client.serves
        if name in registry.resources
        for each in reach(registry.resources[name], frozenset(registry.resources[name].scopes), registry)
        if each.hops > 0
    ]
    return merged([*own, *served])


def merged(reached: Iterable[Reached]) -> tuple[Reached, ...]:
    """One entry a resource, with the scopes of all its entries."""
    found: dict[str, Reached] = {}
    for each in reached:
        known = found.get(each.resource.name, each)
        found[each.resource.name] = Reached(
            resource=each.resource, scopes=known.scopes | each.scopes, hops=min(known.hops, each.hops)
        )
    return tuple(found.values())
