"""Resources: the MCP servers that tokens are good for.

`Resource` is OAuth's protected resource. What MCP calls a resource is an `McpResource` in this code.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from perhop.core.secret import Secret
from perhop.core.task import is_matched

ResourceUri = NewType("ResourceUri", str)
"""A canonical resource URI; only `perhop.rules.resource_uri` makes one."""


class Risk(StrEnum):
    """Caps the lifetime of tokens for a resource."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class SenderConstraint(StrEnum):
    """Whether a token may be good for whoever has it, or must be bound to its sender's key."""

    ANY = "any"
    DPOP = "dpop"


class DataPlane(StrEnum):
    """What carries the calls of a resource: our gateway, or another proxy that asks us about each."""

    GATEWAY = "gateway"
    FORWARD_AUTH = "forward_auth"


class UpstreamPool(StrEnum):
    """What keeps the connections to upstreams over HTTP: the library aiohttp, or a pool of our own."""

    AIOHTTP = "aiohttp"
    OWN = "own"


class CredentialKind(StrEnum):
    """What the gateway presents to an upstream."""

    EXCHANGE = "exchange"
    CALL = "call"
    NONE = "none"

    @property
    def is_token(self) -> bool:
        """True where the upstream is given a token of ours, and must therefore look at audiences."""
        match self:
            case CredentialKind.EXCHANGE | CredentialKind.CALL:
                return True
            case CredentialKind.NONE:
                return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One scope of one resource. `tools` are names or globs with `*`; empty: this scope lists no tools."""

    name: str
    says: str
    tools: tuple[str, ...] = ()
    default: bool = False

    def lists(self, tool: str) -> bool:
        """True if one of the patterns matches the whole tool name; `*` is the only wildcard."""
        return any(is_matched(tool, pattern) for pattern in self.tools)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCommand:
    """A server on this machine that speaks over its standard streams. Times are in seconds.

    `folder` is absolute. `environment` is all that it gets besides a few harmless variables of ours.
    """

    words: tuple[str, ...]
    folder: str
    environment: Mapping[str, Secret] = field(default_factory=dict)
    start_timeout: int = 30
    max_sessions: int = 8
    session_idle: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The real server behind the gateway, at a `url` or run by a `command`: exactly one of them.

    `resource` is None only for credential kind `none`. Times are in seconds. `ca_certificates`, PEM, and what is of
    connections and the circuit are for a `url`.
    """

    url: str | None = None
    command: LocalCommand | None = None
    resource: ResourceUri | None
    credential: CredentialKind
    unsafe_open_upstream: bool = False
    ca_certificates: str | None = None
    connect_timeout: int = 5
    answer_timeout: int = 120
    circuit_failures: int = 5
    circuit_seconds: int = 5

    def __post_init__(self) -> None:
        if (self.url is None) == (self.command is None):
            raise ValueError("an upstream has a `url` or a `command`")

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.url or "" if self.command is None else shlex.join(self.command.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A registered MCP server. `uri` is the audience of inbound tokens.

    Scopes keep the order of the configuration file. Without `upstream` no gateway stands in front: the server
    itself is at `uri`. With `data_plane: forward_auth` another proxy is there. The journal holds the values of the
    arguments in `record_arguments`, and of no others. With `sender: dpop` every token for `uri` is bound to a key; the
    one that the gateway gets for the upstream never is.
    """

    name: str
    uri: ResourceUri
    owner: str
    scopes: Mapping[str, Scope]
    tenant: str | None = None
    risk: Risk = Risk.MEDIUM
    upstream: Upstream | None = None
    data_plane: DataPlane = DataPlane.GATEWAY
    record_arguments: tuple[str, ...] = ()
    sender: SenderConstraint = SenderConstraint.ANY

    @property
    def must_be_bound(self) -> bool:
        """True if no bearer token is good at `uri`."""
        return self.sender is SenderConstraint.DPOP

    @property
    def server_uri(self) -> ResourceUri:
        """The audience by which the server itself is addressed: `upstream.resource`, else `uri`."""
        if self.upstream is not None and self.upstream.resource is not None:
            return self.upstream.resource
        return self.uri

    @property
    def lists_tools(self) -> bool:
        """True once any scope lists tools; then a call needs a scope that lists its tool."""
        return any(scope.tools for scope in self.scopes.values())

    def scope_for(self, tool: str) -> str | None:
        """Name of the first scope of the file that lists the tool."""
        return next((scope.name for scope in self.scopes.values() if scope.lists(tool)), None)

    def advertised_scopes(self) -> tuple[str, ...]:
        """What a challenge and the metadata ask for: scopes with `default: true`, else all."""
        chosen = tuple(scope.name for scope in self.scopes.values() if scope.default)
        return chosen or tuple(self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A permitted step from the server of one resource to another resource; scopes map from parent to child."""

    source: str
    target: str
    scopes: Mapping[str, tuple[str, ...]]
