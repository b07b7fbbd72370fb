"""`trusted_issuers`: whose word counts, for whom, and what is refused before anybody's does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perhop.core.assertion import AssertionKind, KeysAt, KeysByDiscovery, KeysHeld
from perhop.core.client import GrantType
from perhop.errors import SettingsError
from perhop.settings import render, show
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.support.configuration import load_example

HOPS = "hops:\n"
IDP = "kind: identity_assertion, owner: travel-team, clients: [trip-planner]"
CLUSTER = "kind: workload, owner: travel-team"
RULE = "{subject: system:serviceaccount:prod:*, client: desk-app}"


def trusting(*issuers: str) -> tuple[str, str]:
    """A change that trusts these issuers, under the names `a`, `b` and so on."""
    named = "".join(f"  {name}: {{{each}}}\n" for name, each in zip("abc", issuers, strict=False))
    return HOPS, f"trusted_issuers:\n{named}{HOPS}"


def test_nobody_is_trusted_unless_the_file_says_so(tmp_path: Path) -> None:
    """Without the section no client may bring an assertion."""
    registry = load_example(tmp_path).registry
    assert registry.trusted_issuers == {}
    assert not any(GrantType.JWT_BEARER in client.grants for client in registry.clients.values())


def test_keys_come_from_one_place(tmp_path: Path) -> None:
    """From metadata unless the file says where, or holds them; a set that holds keys of no use keeps the others."""
    keys = render_jwks([SigningKey.generate().public()])
    keys["keys"].append({"kty": "EC", "crv": "P-521", "kid": "unused"})
    (tmp_path / "b.json").write_text(json.dumps(keys), encoding="utf-8")
    settings = load_example(
        tmp_path,
        trusting(
            f"issuer: https://idp.example.com/, {IDP}",
            f"issuer: https://b.example.com, {CLUSTER}, jwks_file: b.json, workloads: [{RULE}]",
            f"issuer: 'http://127.0.0.1:9', {IDP}, jwks_uri: 'http://127.0.0.1:9/keys', tenant: acme, max_lifetime: 60",
        ),
    )
    trusted = settings.registry.trusted_issuers
    assert [type(each.keys) for each in trusted.values()] == [KeysByDiscovery, KeysHeld, KeysAt]
    assert isinstance(trusted["b"].keys, KeysHeld)
    assert len(trusted["b"].keys.keys) == 1
    assert [each.single_use for each in trusted.values()] == [True, False, True]
    assert (trusted["c"].tenant, trusted["c"].max_lifetime, trusted["a"].max_lifetime) == ("acme", 60, 3600)
    assert trusted["a"].kind is AssertionKind.IDENTITY_ASSERTION
    assert settings.registry.trusted_issuer("https://idp.example.com") is None
    assert "https://idp.example.com/" in render(show(tmp_path / "perhop.yaml", {}))


def test_who_is_named_may_bring_assertions(tmp_path: Path) -> None:
    """The grant comes with being named, is narrowed by `grants`, and another trusted issuer is another version."""
    trusted = trusting(
        f"issuer: https://a.example.com, {IDP}", f"issuer: https://b.example.com, {CLUSTER}, workloads: [{RULE}]"
    )
    clients = load_example(tmp_path, trusted).registry.clients
    assert GrantType.JWT_BEARER in clients["trip-planner"].grants & clients["desk-app"].grants
    assert GrantType.JWT_BEARER not in clients["calendar-server"].grants
    narrowed = ("purpose: plans business trips", "purpose: plans business trips\n    grants: [client_credentials]")
    one = load_example(tmp_path, trusted, narrowed).registry
    assert GrantType.JWT_BEARER not in one.clients["trip-planner"].grants
    only = ("purpose: plans business trips", "purpose: plans business trips\n    grants: [jwt_bearer]")
    two = load_example(tmp_path, trusted, only).registry
    assert two.clients["trip-planner"].grants == {GrantType.JWT_BEARER}
    assert one.version != two.version
    with pytest.raises(SettingsError) as refusal:
        load_example(tmp_path, only)
    assert "cannot use `urn:ietf:params:oauth:grant-type:jwt-bearer`: none of `trusted_issuers`" in str(refusal.value)


@pytest.mark.parametrize(
    ("issuer", "problem"),
    [
        (f"issuer: http://idp.example.com, {IDP}", "must be https: only a loopback address"),
        (f"issuer: 'https://idp.example.com/x?a=b', {IDP}", "is not written as an issuer is"),
        (f"issuer: HTTPS://idp.example.com, {IDP}", "is not written as an issuer is"),
        (f"issuer: http://127.0.0.1:8420, {IDP}", "is our own issuer"),
        (f"issuer: no-url, {IDP}", "is not an issuer"),
        (f"issuer: https://a.example.com, {IDP}, jwks_uri: http://a.example.com/k", "must be https: only a loopback"),
        (f"issuer: https://a.example.com, {IDP}, jwks_uri: https://a.example.com/k, jwks_file: x", "has both"),
        (f"issuer: https://a.example.com, {IDP}, jwks_file: nosuch.json", "cannot be read"),
        (f"issuer: https://a.example.com, {IDP}, jwks: {{keys: []}}", "has no key that can be used"),
        (f"issuer: https://a.example.com, {IDP}, jwks: {{keys: 1}}", "has no list `keys` of objects"),
        (
            f"issuer: https://a.example.com, {IDP}, jwks: {{keys: [{{kty: oct, k: c2VjcmV0, kid: s}}]}}",
            "a symmetric or private key",
        ),
        ("issuer: https://a.example.com, kind: saml, owner: travel-team", "kind"),
        ("issuer: https://a.example.com, kind: workload, owner: travel", "unknown owner `travel`"),
        (f"issuer: https://a.example.com, {CLUSTER}", "has no `workloads`, so its assertions would give nothing"),
        ("issuer: https://a.example.com, kind: identity_assertion, owner: travel-team", "has no `clients`"),
        (f"issuer: https://a.example.com, {IDP}, workloads: [{RULE}]", "does not go with kind `identity_assertion`"),
        (f"issuer: https://a.example.com, {IDP}, single_use: false", "does not go with kind `identity_assertion`"),
        (
            f"issuer: https://a.example.com, {CLUSTER}, tenant: a, workloads: [{RULE}]",
            "does not go with kind `workload`",
        ),
        (
            "issuer: https://a.example.com, kind: identity_assertion, owner: travel-team, clients: [desk-app]",
            "client `desk-app` proves nothing",
        ),
        (
            "issuer: https://a.example.com, kind: identity_assertion, owner: travel-team, clients: [trip-plannr]",
            "unknown client `trip-plannr`",
        ),
        (
            f"issuer: https://a.example.com, {CLUSTER}, workloads: [{{subject: '*', client: desk-app}}]",
            "begins with `*`",
        ),
        (
            f"issuer: https://a.example.com, {CLUSTER}, workloads: [{{subject: a, client: nobody}}]",
            "unknown client `nobody`",
        ),
        (
            f"issuer: https://a.example.com, {CLUSTER}, workloads: [{{subject: a, client: desk-app, "
            "reaches: {calendar: [calendar:write]}}]",
            "is beyond what client `desk-app` reaches: `calendar:write`",
        ),
        (
            f"issuer: https://a.example.com, {CLUSTER}, workloads: [{{subject: a, client: desk-app, "
            "reaches: {x: [y]}}]",
            "unknown resource `x`",
        ),
        (f"issuer: https://a.example.com, {IDP}, max_lifetime: 0", "max_lifetime"),
        (f"issuer: https://a.example.com, {IDP}, audience: x", "unknown key `audience`"),
    ],
)
def test_what_would_trust_too_much_or_nothing_is_refused(tmp_path: Path, issuer: str, problem: str) -> None:
    """Each with its place, before anything is believed."""
    with pytest.raises(SettingsError) as refusal:
        load_example(tmp_path, trusting(issuer))
    assert problem in f"{refusal.value.problem}\n{refusal.value.advice()}"


def test_an_issuer_is_trusted_once(tmp_path: Path) -> None:
    """Two names for one issuer would be two rules for one assertion."""
    with pytest.raises(SettingsError) as refusal:
        load_example(tmp_path, trusting(*[f"issuer: https://a.example.com, {IDP}"] * 2))
    assert "is the issuer of `trusted_issuers.a` already" in str(refusal.value)
