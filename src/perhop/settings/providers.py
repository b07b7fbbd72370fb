"""From sections to ways of signing in: issuers, domains and secrets are parsed once, here."""

from __future__ import annotations

import re
from pathlib import Path

from perhop.core.provider import Admits, Provider, SignInWays
from perhop.core.secret import Secret
from perhop.errors import ScopeInvalid, SettingsError
from perhop.rules.issuer_uri import parse_issuer
from perhop.rules.scope import parse_scope
from perhop.settings.clients import parse_secret
from perhop.settings.problems import Findings, dotted
from perhop.settings.sign_in import ProviderSection, SignInSection
from perhop.settings.sources import Key

_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")
_SECRETS = ("client_secret", "client_secret_file")


def build_sign_in(section: SignInSection, folder: Path, findings: Findings) -> SignInWays:
    """The ways of signing in; a provider that cannot be used is left out, and the problem is noted."""
    if not section.local_accounts and not section.providers:
        findings.add(("sign_in", "local_accounts"), "`sign_in` leaves nobody a way to sign in", "name a provider")
    built = {name: _build_provider(name, each, folder, findings) for name, each in section.providers.items()}
    _check_apart(section, findings)
    return SignInWays(
        local_accounts=section.local_accounts,
        providers={name: each for name, each in built.items() if each is not None},
    )


def _build_provider(name: str, section: ProviderSection, folder: Path, findings: Findings) -> Provider | None:
    path: tuple[Key, ...] = ("sign_in", "providers", name)
    try:
        parse_issuer(section.issuer)
    except SettingsError as error:
        findings.add((*path, "issuer"), f"`{dotted(path)}.issuer`: {error}", error.advice())
    _check_scopes(path, section, findings)
    for index, domain in enumerate(section.email_domains):
        if _DOMAIN.fullmatch(domain.lower()) is None:
            findings.add((*path, "email_domains", index), f"`{domain}` is not a domain", "write it as example.com")
    if section.accounts is Admits.EMAIL_DOMAINS and not section.email_domains:
        findings.add(
            path,
            f"`{dotted(path)}` lets nobody in: it has no `email_domains`",
            "name them, or write `accounts: anyone` to let everybody in whom it signs in",
        )
    secret = _secret(path, section, folder, findings)
    if secret is None:
        return None
    return Provider(
        name=name,
        label=section.label or name,
        issuer=section.issuer,
        client_id=section.client_id,
        client_secret=secret,
        scopes=tuple(section.scopes),
        email_domains=tuple(each.lower() for each in section.email_domains),
        admits=section.accounts,
        groups_claim=section.groups_claim,
        groups_hold=section.groups_hold,
    )


def _secret(path: tuple[Key, ...], section: ProviderSection, folder: Path, findings: Findings) -> Secret | None:
    given = [key for key in _SECRETS if getattr(section, key) is not None]
    if len(given) != 1:
        findings.add(path, f"`{dotted(path)}` needs {' or '.join(f'`{key}`' for key in _SECRETS)}, one of them")
        return None
    file = folder / str(section.client_secret_file)
    return parse_secret(
        (*path, given[0]), section.client_secret, file, findings, whose=f"the secret of `{dotted(path)}`"
    )


def _check_scopes(path: tuple[Key, ...], section: ProviderSection, findings: Findings) -> None:
    try:
        scopes = parse_scope(" ".join(section.scopes))
    except ScopeInvalid:
        findings.add((*path, "scopes"), f"`{dotted(path)}.scopes` are not scopes")
        return
    if "openid" not in (scopes or ()):
        findings.add((*path, "scopes"), f"`{dotted(path)}.scopes` is without `openid`, which asks for an ID token")


def _check_apart(section: SignInSection, findings: Findings) -> None:
    """Two names of one issuer, or of one domain: nobody could tell whose word counts."""
    issuers: dict[str, str] = {}
    domains: dict[str, str] = {}
    for name, each in section.providers.items():
        path: tuple[Key, ...] = ("sign_in", "providers", name)
        if (first := issuers.setdefault(each.issuer, name)) != name:
            findings.add((*path, "issuer"), f"`{name}` and `{first}` are the same issuer")
        for index, domain in enumerate(each.email_domains):
            if (first := domains.setdefault(domain.lower(), name)) != name:
                findings.add((*path, "email_domains", index), f"`{domain}` is a domain of `{first}` already")
