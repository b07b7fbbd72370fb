"""OAuth clients: agents, applications, and servers that call on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from perhop.core.resource import SenderConstraint
from perhop.core.secret import Secret


class GrantType(StrEnum):
    """The wire words of the grants that are built."""

    AUTHORIZATION_CODE = "authorization_code"
    REFRESH_TOKEN = "refresh_token"
    CLIENT_CREDENTIALS = "client_credentials"
    TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
    JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class NoAuthentication:
    """A public client. Spec: RFC 6749 §2.1."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """`client_secret_basic` or `client_secret_post`. Spec: RFC 6749 §2.3.1."""

    method: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class HashedSecret:
    """The same for a secret that we made and keep no copy of: hex SHA-256 of 256 random bits."""

    method: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """Public keys as JWK members, private parts refused at load. Spec: RFC 7523 §2.2."""

    keys: tuple[Mapping[str, Any], ...]


Authentication = NoAuthentication | ClientSecret | HashedSecret | PrivateKeyJwt


class Origin(StrEnum):
    """Who says what a client is: the configuration, a document at its own URL, or the client when it registered."""

    FILE = "file"
    DOCUMENT = "document"
    REGISTRATION = "registration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A registered client. `reaches`: resource name -> scopes it may ask for; `serves`: resources it answers for.

    With `sender: dpop` it gets no token that is not bound to a key.
    """

    id: str
    owner: str
    purpose: str
    expires: date
    authentication: Authentication
    grants: frozenset[GrantType]
    redirect_uris: tuple[str, ...] = ()
    reaches: Mapping[str, tuple[str, ...]]
    serves: tuple[str, ...] = ()
    default_resource: str | None = None
    sender: SenderConstraint = SenderConstraint.ANY
    origin: Origin = Origin.FILE

    @property
    def is_public(self) -> bool:
        """True for a client that proves nothing by itself. Spec: RFC 6749 §2.1."""
        return isinstance(self.authentication, NoAuthentication)

    @property
    def published_by(self) -> str | None:
        """The host whose document this client is; None for a client that has none."""
        return self.id.partition("://")[2].partition("/")[0] if self.origin is Origin.DOCUMENT else None
