"""The registry: what the configuration file defines, looked up by name and by audience."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perhop.core.client import Client
from perhop.core.owner import Owner
from perhop.core.provider import SignInWays
from perhop.core.resource import Hop, Resource, ResourceUri


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Owners, resources, clients, hops and ways to sign in of one configuration; `version` is the digest of all."""

    owners: Mapping[str, Owner]
    resources: Mapping[str, Resource]
    clients: Mapping[str, Client]
    hops: tuple[Hop, ...]
    version: str
    sign_in: SignInWays = field(default_factory=SignInWays)

    def resource_at(self, uri: str) -> Resource | None:
        """The resource whose `uri` is exactly this one."""
        return next((each for each in self.resources.values() if each.uri == uri), None)

    def resource_served_at(self, uri: str) -> Resource | None:
        """The resource whose server is addressed by exactly this audience."""
        return next((each for each in self.resources.values() if each.server_uri == uri), None)

    def hop(self, source: str, target: str) -> Hop | None:
        """The hop from one resource's server to another resource, if the configuration names it."""
        return next((hop for hop in self.hops if hop.source == source and hop.target == target), None)

    def is_registered(self, uri: ResourceUri) -> bool:
        """True if tokens may carry this audience."""
        return self.resource_at(uri) is not None or self.resource_served_at(uri) is not None
