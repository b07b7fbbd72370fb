"""The shape of `sign_in`: how people sign in, with local accounts and through OpenID providers."""

from __future__ import annotations

from pydantic import Field

from perhop.core.provider import DAY, Admits
from perhop.settings.section import Name, Section, Text


class ProviderSection(Section):
    """An OpenID provider that signs people in."""

    issuer: Text = Field(
        description="its issuer, exactly as its metadata and its ID tokens write it; https except on this machine"
    )
    label: Text | None = Field(
        default=None, description="what people read on its button, after `Sign in with`; default: its name"
    )
    client_id: Text = Field(description="our client id there")
    client_secret: Text | None = Field(
        default=None, description="our secret there, 32 characters or more. Better: `client_secret_file`"
    )
    client_secret_file: Text | None = Field(
        default=None, description="a file that holds the secret; one newline at its end is dropped"
    )
    scopes: list[Text] = Field(
        default=["openid", "email"], description="what we ask for there; `openid` must be among it"
    )
    email_domains: list[Text] = Field(
        default=[],
        description="domains for whose e-mail addresses its word counts: who has one there, verified, is a member of "
        "the teams that name it. No domain stands at two providers, and a local account with such an address does not "
        "sign in",
    )
    accounts: Admits = Field(
        default=Admits.EMAIL_DOMAINS,
        strict=False,
        description="`email_domains`: only people with a verified address of `email_domains` are let in; `anyone`: "
        "everybody whom it signs in",
    )
    groups_claim: Text | None = Field(
        default=None,
        description="the claim that names the groups of a person, for policies: `context.subject.groups`; default: "
        "nobody's groups are known",
    )
    groups_hold: int = Field(
        default=DAY,
        ge=60,
        le=30 * DAY,
        description="seconds since the last sign-in for which the groups of a person are believed",
    )


class SignInSection(Section):
    """How people sign in."""

    local_accounts: bool = Field(
        default=True,
        description="whether accounts of `perhop account add` sign in; `false` ends their sessions and their clients' "
        "refresh tokens, too. Needs a provider",
    )
    providers: dict[Name, ProviderSection] = Field(
        default={},
        description="OpenID providers, by name. Register `ISSUER/sign-in/NAME/callback` there, and "
        "`CONSOLE_URL/sign-in/NAME/callback` for the console",
    )
