"""`load`: file and environment in, Settings out, or one error that tells every problem."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from perhop.core.registry import Registry
from perhop.core.secret import Secret
from perhop.settings.addresses import check_issuer, parse_console_url, parse_database, parse_listen, parse_networks
from perhop.settings.agreement import check_agreement
from perhop.settings.authz import parse_authz
from perhop.settings.build import build_hops, build_owners, build_resources
from perhop.settings.clients import build_clients
from perhop.settings.environment import overlay
from perhop.settings.exports import build_exports
from perhop.settings.model import INHERITED, File
from perhop.settings.newcomers import build_admission
from perhop.settings.problems import Findings, Problem, dotted, in_order, settings_error
from perhop.settings.providers import build_sign_in
from perhop.settings.shape import parse_shape
from perhop.settings.sources import Key, read_file
from perhop.settings.trusted_issuers import build_trusted_issuers, clients_named
from perhop.settings.upstreams import ONLY_WITH_COMMAND, ONLY_WITH_URL
from perhop.settings.values import Settings

REDACTED = "(redacted)"


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the file and what the environment overrides. Makes nothing, and looks at no key and no policy.

    Raises: SettingsError
    """
    findings, settings = _load(path, environ)
    if settings is None:
        raise settings_error(findings.problems)
    return settings


def check(path: Path, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """Every problem of the file; empty if it loads. A file that is not readable YAML is an error all the same.

    Raises: SettingsError
    """
    return tuple(in_order(_load(path, environ)[0].problems))


def check_start(path: Path, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """Every problem of the file, and what would keep a server from starting although the file loads.

    Raises: SettingsError
    """
    findings = overlay(Findings(read_file(path)), environ)
    file = parse_shape(findings)
    if file is not None:
        _settings(path, file, environ, findings)
        policies = path.absolute().parent / file.policies
        if not policies.is_dir():
            text = f"`policies` is `{file.policies}`, which is not a folder"
            findings.add(("policies",), text, "make it, or name the one that holds the policies")
    return tuple(in_order(findings.problems))


def expired(path: Path, environ: Mapping[str, str], *, today: date) -> tuple[Problem, ...]:
    """The clients, and the hosts of clients' documents, that get nothing any more: their last day, UTC, is over.

    Raises: SettingsError
    """
    findings = overlay(Findings(read_file(path)), environ)
    file = parse_shape(findings)
    if file is None:
        raise settings_error(findings.problems)
    return _expired(file, findings, today=today)


def load_with_expired(path: Path, environ: Mapping[str, str], *, today: date) -> tuple[Settings, tuple[Problem, ...]]:
    """What `load` gives, and `expired`, by one reading of the file.

    Raises: SettingsError
    """
    findings = overlay(Findings(read_file(path)), environ)
    file = parse_shape(findings)
    settings = None if file is None else _settings(path, file, environ, findings)
    if file is None or settings is None:
        raise settings_error(findings.problems)
    return settings, _expired(file, findings, today=today)


def _expired(file: File, findings: Findings, *, today: date) -> tuple[Problem, ...]:
    warned = Findings(findings.source)
    sections: list[tuple[tuple[Key, ...], date]] = [
        (("clients", name), client.expires) for name, client in file.clients.items()
    ]
    sections += [(("client_documents", index), rule.expires) for index, rule in enumerate(file.client_documents)]
    for where, last in sections:
        if last < today:
            warned.add((*where, "expires"), f"`{dotted(where)}` expired on {last.isoformat()}: it gets no token")
    return tuple(in_order(warned.problems))


def show(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The configuration as it is understood, with every default, and no secret.

    Raises: SettingsError
    """
    findings = overlay(Findings(read_file(path)), environ)
    file = parse_shape(findings)
    if file is None or findings.problems:
        raise settings_error(findings.problems)
    shown = file.model_dump(mode="json", by_alias=True, exclude_none=True)
    for client in shown["clients"].values():
        if "secret" in client["authentication"]:
            client["authentication"]["secret"] = REDACTED
    for owner in shown["owners"].values():
        if "webhook" in owner:
            _redact_webhook(owner["webhook"])
    for provider in shown["sign_in"]["providers"].values():
        if "client_secret" in provider:
            provider["client_secret"] = REDACTED
    if "authz_secret" in shown["listen"]:
        shown["listen"]["authz_secret"] = REDACTED
    for resource in shown["resources"].values():
        if "upstream" in resource:
            _redact_upstream(resource["upstream"])
    return shown


def _redact_upstream(upstream: dict[str, Any]) -> None:
    """Take the secrets out, and the defaults that do not go with what it is."""
    for key in ONLY_WITH_URL if "command" in upstream else ONLY_WITH_COMMAND:
        upstream.pop(key, None)
    if "url" in upstream:
        upstream["url"] = _without_query(upstream["url"])
    if "environment" in upstream:
        upstream["environment"] = dict.fromkeys(upstream["environment"], REDACTED)


def _redact_webhook(webhook: dict[str, Any]) -> None:
    webhook["url"] = _without_query(webhook["url"])
    if "secret" in webhook:
        webhook["secret"] = REDACTED


def _without_query(url: str) -> str:
    """A key that a server wants in its query is a secret to us as well."""
    before, mark, _ = url.partition("?")
    return before + (mark and f"{mark}{REDACTED}")


def render(shown: Mapping[str, Any]) -> str:
    """What `show` gives, as YAML."""
    return yaml.safe_dump(dict(shown), sort_keys=False, allow_unicode=True)


def _load(path: Path, environ: Mapping[str, str]) -> tuple[Findings, Settings | None]:
    findings = overlay(Findings(read_file(path)), environ)
    file = parse_shape(findings)
    if file is None:
        return findings, None
    return findings, _settings(path, file, environ, findings)


def _settings(path: Path, file: File, environ: Mapping[str, str], findings: Findings) -> Settings | None:
    folder = path.absolute().parent
    check_issuer(file.issuer, findings)
    listen = parse_listen(file.listen, findings)
    console_url = parse_console_url(file.console_url, listen, findings)
    authz = parse_authz(file.listen, listen, folder, findings)
    database_path = parse_database(file.database, folder, findings)
    exports = build_exports(file.exports, path.absolute(), database_path, findings)
    networks = parse_networks(file.forwarded_from, findings)
    owners = build_owners(file.owners, folder, findings)
    resources = build_resources(file.resources, folder, findings)
    asserted = clients_named(file.trusted_issuers.values())
    clients = build_clients(file.clients, folder, findings, asserted=asserted)
    trusted_issuers = build_trusted_issuers(file, folder, findings)
    admission = build_admission(file, folder, findings)
    hops = build_hops(file.hops)
    sign_in = build_sign_in(file.sign_in, folder, findings)
    check_agreement(file, resources, findings)
    if findings.problems or listen is None or console_url is None or database_path is None:
        return None
    definitions: dict[str, Any] = {
        "owners": owners,
        "resources": resources,
        "clients": clients,
        "hops": hops,
        "sign_in": sign_in,
    }
    if admission.rules:
        definitions["client_documents"] = admission.rules
    if trusted_issuers:
        definitions["trusted_issuers"] = trusted_issuers
    return Settings(
        file=path.absolute(),
        folder=folder,
        issuer=file.issuer,
        listen=replace(listen, authz=authz),
        console_url=console_url,
        database_path=database_path,
        policies_dir=folder / file.policies,
        policy_review_required=file.policy_review == "required",
        max_call=file.max_call,
        approval_wait=file.approval_wait,
        drain=file.drain,
        upstream_pool=file.upstream_pool,
        forwarded_from=networks,
        rate_limits=file.limits.limits(),
        exports=exports,
        inherited={name: environ[name] for name in INHERITED if name in environ},
        registry=Registry(
            owners=owners,
            resources=resources,
            clients=clients,
            hops=hops,
            trusted_issuers=trusted_issuers,
            sign_in=sign_in,
            version=_digest(definitions),
        ),
        admission=admission,
    )


def _digest(definitions: Mapping[str, Any]) -> str:
    """A short name for exactly these definitions: any change of one changes it, a comment or their order does not."""
    text = json.dumps(_plain(definitions), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return hashlib.sha256(value.reveal().encode()).hexdigest()
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return [[key, _plain(each)] for key, each in value.items()]
    if isinstance(value, frozenset):
        return sorted(_plain(each) for each in value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | bool | None) else str(value)
