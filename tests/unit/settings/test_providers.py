"""`sign_in`: OpenID providers whose names and domains are one thing each, and whose secrets are not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from perhop.core.provider import Admits
from perhop.errors import SettingsError
from perhop.settings import load, render, show
from tests.support.configuration import load_example

SECRET = "a-secret-of-perhop-at-a-provider-123"
HOPS = "hops:"
GOOD = (
    "issuer: https://login.example.com",
    "client_id: perhop",
    f"client_secret: {SECRET}",
    "email_domains: [Example.com]",
)


def signing_in(*pairs: str, name: str = "corp", more: str = "") -> tuple[str, str]:
    """A change that adds one provider with these keys."""
    return HOPS, f"sign_in:\n  providers:\n    {name}: {{{', '.join(pairs)}}}\n{more}{HOPS}"


def test_without_it_people_have_local_accounts(tmp_path: Path) -> None:
    """Nobody else signs anybody in unless the file says so."""
    ways = load_example(tmp_path).registry.sign_in
    assert (ways.local_accounts, dict(ways.providers)) == (True, {})


def test_a_provider(tmp_path: Path) -> None:
    """Defaults are the narrow ones; the secret is written down or in a file, and never shown."""
    (tmp_path / "corp.secret").write_text(f"{SECRET}\n", encoding="utf-8")
    in_a_file = tuple(each.replace(f"client_secret: {SECRET}", "client_secret_file: corp.secret") for each in GOOD)
    for pairs in (GOOD, in_a_file):
        settings = load_example(tmp_path, signing_in(*pairs))
        provider = settings.registry.sign_in.providers["corp"]
        assert (provider.label, provider.issuer) == ("corp", "https://login.example.com")
        assert provider.client_secret.reveal() == SECRET
        assert (provider.email_domains, provider.admits) == (("example.com",), Admits.EMAIL_DOMAINS)
        assert (provider.scopes, provider.groups_claim) == (("openid", "email"), None)
        assert SECRET not in render(show(tmp_path / "perhop.yaml", {}))
        assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        (GOOD[1:], "has no `issuer`"),
        (("issuer: http://login.example.com", *GOOD[1:]), "is not https"),
        (("issuer: https://login.example.com/a/../b", *GOOD[1:]), "is not an issuer"),
        (("issuer: https://Login.example.com", *GOOD[1:]), "write it as its metadata does"),
        ((*GOOD[:2], GOOD[3]), "needs `client_secret` or `client_secret_file`, one of them"),
        ((*GOOD, "client_secret_file: x"), "one of them"),
        ((*GOOD[:2], "client_secret: short", GOOD[3]), "shorter than 32 characters"),
        ((*GOOD, "scopes: [email]"), "is without `openid`"),
        ((*GOOD, 'scopes: [openid, "a\\\\b"]'), "are not scopes"),
        (GOOD[:3], "lets nobody in: it has no `email_domains`"),
        ((*GOOD[:3], "email_domains: [example]"), "`example` is not a domain"),
        ((*GOOD[:3], 'email_domains: ["*.example.com"]'), "is not a domain"),
        ((*GOOD[:3], 'email_domains: ["ann@example.com"]'), "is not a domain"),
        ((*GOOD, "accounts: everybody"), "`everybody`"),
        ((*GOOD, "groups_hold: 59"), "groups_hold"),
        ((*GOOD, "pkce: false"), "unknown key `pkce`"),
    ],
)
def test_what_is_no_provider(tmp_path: Path, pairs: tuple[str, ...], problem: str) -> None:
    """The file does not load, and says what is wrong."""
    with pytest.raises(SettingsError) as told:
        load_example(tmp_path, signing_in(*pairs))
    assert problem in f"{told.value} {told.value.advice()}"
    assert SECRET not in str(told.value)


def test_anyone_is_said_out_loud(tmp_path: Path) -> None:
    """Without domains everybody is let in only where the file says so."""
    ways = load_example(tmp_path, signing_in(*GOOD[:3], "accounts: anyone")).registry.sign_in
    assert ways.providers["corp"].admits is Admits.ANYONE


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (("issuer: https://login.example.com", *GOOD[1:3], "email_domains: [example.org]"), "are the same issuer"),
        (("issuer: https://other.example.com", *GOOD[1:3], "email_domains: [EXAMPLE.com]"), "is a domain of `corp`"),
    ],
)
def test_two_providers_share_nothing(tmp_path: Path, second: tuple[str, ...], problem: str) -> None:
    """Neither an issuer, nor a domain: whose word would count?"""
    more = f"    other: {{{', '.join(second)}}}\n"
    with pytest.raises(SettingsError, match=problem):
        load_example(tmp_path, signing_in(*GOOD, more=more))


def test_somebody_can_sign_in(tmp_path: Path) -> None:
    """Local accounts are off only where there is a provider."""
    with pytest.raises(SettingsError, match="leaves nobody a way to sign in"):
        load_example(tmp_path, (HOPS, f"sign_in: {{local_accounts: false}}\n{HOPS}"))
    more = "  local_accounts: false\n"
    assert not load_example(tmp_path, signing_in(*GOOD, more=more)).registry.sign_in.local_accounts
    assert load(tmp_path / "perhop.yaml", {}).registry.sign_in.providers
