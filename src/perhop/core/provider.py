"""OpenID providers: who signs people in besides our own accounts, and what their word counts for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from perhop.core.secret import Secret

DAY = 24 * 3600


class Admits(StrEnum):
    """Whom of those that a provider signs in we let in."""

    ANYONE = "anyone"
    EMAIL_DOMAINS = "email_domains"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An OpenID provider. `issuer` is its name, compared byte for byte; `label` is what people read on its button.

    `email_domains` are the domains for whose e-mail addresses its word counts; `groups_hold` is in seconds.
    """

    name: str
    label: str
    issuer: str
    client_id: str
    client_secret: Secret
    scopes: tuple[str, ...] = ("openid", "email")
    email_domains: tuple[str, ...] = ()
    admits: Admits = Admits.EMAIL_DOMAINS
    groups_claim: str | None = None
    groups_hold: int = DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInWays:
    """How people may sign in."""

    local_accounts: bool = True
    providers: Mapping[str, Provider] = field(default_factory=dict)

    def provider_with(self, issuer: str) -> Provider | None:
        """The provider whose issuer is exactly this one."""
        return next((each for each in self.providers.values() if each.issuer == issuer), None)

    def provider_for(self, email: str) -> Provider | None:
        """The provider whose word counts for this address. No domain has two."""
        domain = email.rpartition("@")[2]
        return next((each for each in self.providers.values() if domain in each.email_domains), None)
