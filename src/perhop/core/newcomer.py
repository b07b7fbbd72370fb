"""Newcomers: clients that nobody wrote into the configuration, and by which rules they are admitted.

Whatever one of them says of itself is its own word: what it may ask for, and who answers for it, comes from a rule or
from the owner who adopted it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from perhop.core.client import GrantType


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRule:
    """Admits clients whose documents lie at one host; `host` is as URLs have it, with a port that is not 443.

    `inner_networks` may be asked although they are not public; `ca_pem` is believed instead of what the system has.
    """

    host: str
    owner: str
    expires: date
    reaches: Mapping[str, tuple[str, ...]]
    inner_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    ca_pem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who may come at all: the rules by host, and whether clients may register themselves."""

    rules: Mapping[str, TrustRule] = field(default_factory=dict)
    registers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMetadata:
    """What a client says of itself, as far as we go by it. `jwks` are JWK members that nobody has looked at yet.

    `application_type` is `native`, `web`, or None where the client does not say.
    """

    name: str
    redirect_uris: tuple[str, ...]
    grants: frozenset[GrantType]
    method: str
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    application_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A client's document as it was last read, with the keys of its `jwks_uri`, both as text.

    `sha256` is over both. Times are seconds since the epoch; after `fresh_until` it is read again before anything is
    issued. `used_at` is None until a token was issued by it: then it is kept over a restart.
    """

    client_id: str
    document: str
    key_set: str | None
    sha256: str
    fetched_at: int
    fresh_until: int
    used_at: int | None = None


class RegistrationState(StrEnum):
    """A client that registered itself waits until an owner adopts it. One that is rejected, or lapses, is gone."""

    WAITING = "waiting"
    ADOPTED = "adopted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What an owner decided of a client that had registered itself."""

    owner: str
    purpose: str
    expires: date
    reaches: Mapping[str, tuple[str, ...]]
    by: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A client that registered itself. `metadata` is JSON text; `network` is whence it came, of an address its network.

    Times are seconds since the epoch. While it waits it lapses at `lapses_at`.
    """

    client_id: str
    metadata: str
    secret_sha256: str | None
    network: str
    registered_at: int
    lapses_at: int
    adoption: Adoption | None = None

    @property
    def state(self) -> RegistrationState:
        return RegistrationState.WAITING if self.adoption is None else RegistrationState.ADOPTED
