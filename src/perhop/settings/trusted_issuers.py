"""From sections to the issuers whose assertions we take: identifiers, keys and rules are parsed once, here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from perhop.core.assertion import (
    AssertionIssuer,
    AssertionKind,
    KeysAt,
    KeysByDiscovery,
    KeysHeld,
    KeySource,
    WorkloadRule,
)
from perhop.errors import JsonUnparsable, KeysUnavailable, TargetInvalid
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.resource_uri import parse_http_uri
from perhop.rules.strict_json import parse_json
from perhop.rules.workload import is_pattern
from perhop.settings.addresses import parse_uri
from perhop.settings.model import ClientSection, File, ResourceSection
from perhop.settings.problems import Findings, did_you_mean, dotted
from perhop.settings.sources import Key
from perhop.settings.trusted_issuer_sections import TrustedIssuerSection, WorkloadSection
from perhop.tokens.jwks import MAX_JWKS_BYTES, parse_key_set

_KEYS = ("jwks_uri", "jwks", "jwks_file")
_OF_KIND = {
    AssertionKind.IDENTITY_ASSERTION: ("workloads", "single_use"),
    AssertionKind.WORKLOAD: ("clients", "tenant"),
}
"""Keys that do not go with a kind."""


def clients_named(sections: Iterable[TrustedIssuerSection]) -> frozenset[str]:
    """The clients that may use the JWT bearer grant: those for whom an issuer may speak, and those of workloads."""
    sections = tuple(sections)
    asserted = {client for section in sections for client in section.clients}
    return frozenset(asserted | {rule.client for section in sections for rule in section.workloads})


def build_trusted_issuers(file: File, folder: Path, findings: Findings) -> dict[str, AssertionIssuer]:
    """Trusted issuers; one without usable keys is left out, and the problem is noted."""
    first_of: dict[str, str] = {}
    built = {}
    for name, section in file.trusted_issuers.items():
        path = ("trusted_issuers", name)
        _check_issuer(path, section, file.issuer, findings)
        first = first_of.setdefault(section.issuer, name)
        if first != name:
            findings.add((*path, "issuer"), f"`{section.issuer}` is the issuer of `trusted_issuers.{first}` already")
        if section.owner not in file.owners:
            text = f"unknown owner `{section.owner}` in `{dotted(path)}` (owner.missing)"
            findings.add((*path, "owner"), text, did_you_mean(section.owner, file.owners) or "name it under `owners`")
        _check_kind(path, section, file.clients, findings)
        for index, rule in enumerate(section.workloads):
            _check_rule((*path, "workloads", index), rule, file.clients, file.resources, findings)
        keys = _build_keys(path, section, folder, findings)
        if keys is not None:
            built[name] = _build(name, section, keys)
    return built


def _build(name: str, section: TrustedIssuerSection, keys: KeySource) -> AssertionIssuer:
    return AssertionIssuer(
        name=name,
        issuer=section.issuer,
        kind=section.kind,
        owner=section.owner,
        keys=keys,
        max_lifetime=section.max_lifetime,
        clients=tuple(section.clients),
        tenant=section.tenant,
        workloads=tuple(
            WorkloadRule(
                subject=rule.subject,
                claims=dict(rule.claims),
                client=rule.client,
                reaches=None if rule.reaches is None else {each: tuple(of) for each, of in rule.reaches.items()},
            )
            for rule in section.workloads
        ),
        single_use=section.kind is AssertionKind.IDENTITY_ASSERTION or bool(section.single_use),
    )


def _check_issuer(path: tuple[Key, ...], section: TrustedIssuerSection, own: str, findings: Findings) -> None:
    """Compared byte for byte, so it is not put into another form: a slash at its end belongs to some issuers' names."""
    where = (*path, "issuer")
    try:
        uri = parse_http_uri(section.issuer)
    except TargetInvalid as error:
        findings.add(where, f"`{dotted(where)}` is not an issuer: {error.detail}")
        return
    if uri.query is not None or str(uri) not in (section.issuer, section.issuer.removesuffix("/")):
        findings.add(where, f"`{dotted(where)}` is not written as an issuer is", f"perhaps `{uri}`")
    if uri.scheme == "http" and not is_loopback(uri.host):
        findings.add(where, f"`{dotted(where)}` must be https: only a loopback address may be http")
    if section.issuer == own:
        findings.add(where, f"`{dotted(where)}` is our own issuer, which gives no assertions to itself")


def _check_kind(
    path: tuple[Key, ...],
    section: TrustedIssuerSection,
    clients: Mapping[str, ClientSection],
    findings: Findings,
) -> None:
    for key in _OF_KIND[section.kind]:
        if key in section.model_fields_set:
            findings.add((*path, key), f"`{dotted(path)}.{key}` does not go with kind `{section.kind.value}`")
    needed = "clients" if section.kind is AssertionKind.IDENTITY_ASSERTION else "workloads"
    if not getattr(section, needed):
        findings.add(path, f"`{dotted(path)}` has no `{needed}`, so its assertions would give nothing")
    for index, name in enumerate(section.clients):
        where = (*path, "clients", index)
        if name not in clients:
            findings.add_unknown(where, "client", name, clients)
        elif clients[name].authentication.method == "none":
            findings.add(where, f"client `{name}` proves nothing (`method: none`), so whoever has an assertion is it")


def _check_rule(
    path: tuple[Key, ...],
    rule: WorkloadSection,
    clients: Mapping[str, ClientSection],
    resources: Mapping[str, ResourceSection],
    findings: Findings,
) -> None:
    if not is_pattern(rule.subject):
        text = f"`{dotted(path)}.subject` begins with `*`, so it would mean workloads of anybody"
        findings.add((*path, "subject"), text, "begin with what all of them share, as `system:serviceaccount:prod:`")
    if rule.client not in clients:
        findings.add_unknown((*path, "client"), "client", rule.client, clients)
        return
    reached = clients[rule.client].reaches
    for name, scopes in (rule.reaches or {}).items():
        where = (*path, "reaches", name)
        if name not in resources:
            findings.add_unknown(where, "resource", name, resources)
        elif not scopes:
            findings.add(where, f"`{dotted(where)}` names no scope")
        elif beyond := sorted(set(scopes) - set(reached.get(name, ()))):
            findings.add(where, f"`{dotted(where)}` is beyond what client `{rule.client}` reaches: `{beyond[0]}`")


def _build_keys(
    path: tuple[Key, ...], section: TrustedIssuerSection, folder: Path, findings: Findings
) -> KeySource | None:
    given = [key for key in _KEYS if getattr(section, key) is not None]
    if len(given) > 1:
        findings.add((*path, given[1]), f"`{dotted(path)}` has both `{given[0]}` and `{given[1]}`")
        return None
    if section.jwks_uri is not None:
        where = (*path, "jwks_uri")
        uri = parse_uri(where, section.jwks_uri, findings)
        if uri is not None and uri.scheme == "http" and not is_loopback(uri.host):
            findings.add(where, f"`{dotted(where)}` must be https: only a loopback address may be http")
        return None if uri is None else KeysAt(str(uri))
    if not given:
        return KeysByDiscovery()
    return _held((*path, given[0]), section, folder, findings)


def _held(where: tuple[Key, ...], section: TrustedIssuerSection, folder: Path, findings: Findings) -> KeysHeld | None:
    document: Any = section.jwks
    try:
        if section.jwks_file is not None:
            document = parse_json((folder / section.jwks_file).read_bytes(), max_bytes=MAX_JWKS_BYTES)
        keys = parse_key_set(document)
    except OSError as error:
        findings.add(where, f"`{folder / str(section.jwks_file)}` cannot be read: {error.strerror}")
    except JsonUnparsable as error:
        findings.add(where, f"`{dotted(where)}` is not JSON: {error.detail}")
    except KeysUnavailable as error:
        findings.add(where, f"`{dotted(where)}` is not usable: {error.detail}")
    else:
        if keys:
            return KeysHeld(tuple(key.as_jwk() for key in keys.values()))
        findings.add(where, f"`{dotted(where)}` has no key that can be used, with a `kid`")
    return None
