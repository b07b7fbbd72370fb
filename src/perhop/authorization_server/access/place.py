"""Which thing at which resource a question is about, among those that the client serves; of others nothing is said.

`resource.id` is `RESOURCE/NAME`, the server itself is named by its resource or by an audience of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.client import Client
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.errors import QuestionUnclear, ResourceNotServed
from perhop.rules.authzen import Entity
from perhop.rules.coaz_mcp import Kind

AT = "server"
"""The property that says at which resource a thing is: then `resource.id` is its bare name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One thing at a resource that the client serves. `name` is empty for the server itself.

    `other_name` is what the `id` would name if it were a bare name, None where it can only be read in one way.
    """

    resource: Resource
    kind: Kind
    name: str
    other_name: str | None = None


def find_place(entity: Entity, client: Client, registry: Registry) -> Place:
    """What a question is about.

    Raises: QuestionUnclear, ResourceNotServed
    """
    kind = parse_kind(entity.type)
    if kind is Kind.TASK:
        raise QuestionUnclear("which call opened a task is not known here: ask about its tool")
    if kind.is_server:
        return Place(resource=_served(entity.id, client, registry), kind=kind, name="")
    if AT in entity.properties:
        return Place(resource=served_at(entity.properties, client, registry)[0], kind=kind, name=entity.id)
    # The names of resources hold neither a slash nor a colon, so the first slash ends one, or there is none.
    head, slash, tail = entity.id.partition("/")
    if slash and ":" not in head:
        return Place(resource=_served(head, client, registry), kind=kind, name=tail, other_name=entity.id)
    return Place(resource=_only(client, registry), kind=kind, name=entity.id)


def parse_kind(type_name: str) -> Kind:
    """Raises: QuestionUnclear."""
    try:
        return Kind(type_name)
    except ValueError:
        raise QuestionUnclear(f"`resource.type` is none of {', '.join(f'`{each}`' for each in Kind)}") from None


def served_at(properties: Mapping[str, Any], client: Client, registry: Registry) -> tuple[Resource, ...]:
    """The resource that the properties name; without, every one that the client serves.

    Raises: QuestionUnclear, ResourceNotServed
    """
    if AT not in properties:
        return tuple(registry.resources[name] for name in client.serves if name in registry.resources)
    named = properties[AT]
    if not isinstance(named, str):
        raise QuestionUnclear(f"`resource.properties.{AT}` is not a string")
    return (_served(named, client, registry),)


def _served(named: str, client: Client, registry: Registry) -> Resource:
    """By the name of the configuration, or by an audience."""
    resource = registry.resources.get(named) or registry.resource_at(named) or registry.resource_served_at(named)
    if resource is None or resource.name not in client.serves:
        raise ResourceNotServed(f"`{named[:128]}` is no resource that client `{client.id}` serves")
    return resource


def _only(client: Client, registry: Registry) -> Resource:
    """The one resource of a client that serves one: a bare name is a name there."""
    served = served_at({}, client, registry)
    if len(served) != 1:
        raise QuestionUnclear(f"a bare name, and client `{client.id}` serves several resources")
    return served[0]
