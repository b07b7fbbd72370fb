"""The registry: what the configuration file defines, looked up by name and by audience."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perhop.core.assertion import AssertionIssuer, AssertionKind
from perhop.core.client import Client
from perhop.core.owner import Owner
from perhop.core.provider import SignInWays
from perhop.core.resource import Hop, Resource, ResourceUri


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Owners, resources, clients, hops, trusted issuers and ways to sign in of one configuration; `version` is the
    digest of all.

    In a running server `clients` goes on behind those of the configuration with the newcomers of the moment, which the
    version does not count.
    """

    owners: Mapping[str, Owner]
    resources: Mapping[str, Resource]
    clients: Mapping[str, Client]
    hops: tuple[Hop, ...]
    version: str
    trusted_issuers: Mapping[str, AssertionIssuer] = field(default_factory=dict)
    sign_in: SignInWays = field(default_factory=SignInWays)
    _by_uri: Mapping[str, Resource] = field(init=False, repr=False, compare=False)
    _by_server_uri: Mapping[str, Resource] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Of two with one URI, which no configuration has, the first.
        resources = tuple(self.resources.values())[::-1]
        object.__setattr__(self, "_by_uri", {each.uri: each for each in resources})
        object.__setattr__(self, "_by_server_uri", {each.server_uri: each for each in resources})

    def trusted_issuer(self, issuer: str) -> AssertionIssuer | None:
        """The trusted issuer of exactly this identifier."""
        return next((each for each in self.trusted_issuers.values() if each.issuer == issuer), None)

    def trusts(self, kind: AssertionKind) -> bool:
        """True if any issuer may assert this kind of thing."""
        return any(each.kind is kind for each in self.trusted_issuers.values())

    def resource_at(self, uri: str) -> Resource | None:
        """The resource whose `uri` is exactly this one."""
        return self._by_uri.get(uri)

    def resource_served_at(self, uri: str) -> Resource | None:
        """The resource whose server is addressed by exactly this audience."""
        return self._by_server_uri.get(uri)

    def hop(self, source: str, target: str) -> Hop | None:
        """The hop from one resource's server to another resource, if the configuration names it."""
        return next((hop for hop in self.hops if hop.source == source and hop.target == target), None)

    def is_registered(self, uri: ResourceUri) -> bool:
        """True if tokens may carry this audience."""
        return self.resource_at(uri) is not None or self.resource_served_at(uri) is not None
