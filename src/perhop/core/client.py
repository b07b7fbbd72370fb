"""OAuth clients: agents, applications, and servers that call on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

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
class PrivateKeyJwt:
    """Public keys as JWK members, private parts refused at load. Spec: RFC 7523 §2.2."""

    keys: tuple[Mapping[str, Any], ...]


Authentication = NoAuthentication | ClientSecret | PrivateKeyJwt


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A registered client. `reaches`: resource name -> scopes it may ask for; `serves`: resources it answers for."""

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
