"""From sections to owners, resources and hops: every value is parsed once, here. What does not parse becomes a problem.

Whether names agree with each other is looked at in `perhop.settings.agreement`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from perhop.core.owner import Owner
from perhop.core.resource import Hop, Resource, Scope
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.resource_uri import parse_resource_uri
from perhop.settings.addresses import parse_uri
from perhop.settings.model import (
    NAME,
    HopSection,
    OwnerSection,
    ResourceSection,
    ScopeSection,
)
from perhop.settings.problems import Findings, dotted
from perhop.settings.sources import Key
from perhop.settings.upstreams import build_upstream
from perhop.settings.webhooks import build_webhook

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")  # RFC 6749 §3.3: scope-token


def build_owners(sections: Mapping[str, OwnerSection], folder: Path, findings: Findings) -> dict[str, Owner]:
    """Owners; addresses in lower case, as accounts have them."""
    for name in sections:
        _check_name(("owners", name), name, findings)
    return {
        name: Owner(
            name=name,
            contact=section.contact,
            members=tuple(each.lower() for each in section.members),
            deputies=tuple(each.lower() for each in section.deputies),
            webhook=build_webhook(("owners", name, "webhook"), section.webhook, folder, findings),
        )
        for name, section in sections.items()
    }


def build_resources(sections: Mapping[str, ResourceSection], folder: Path, findings: Findings) -> dict[str, Resource]:
    """Resources; one whose URI does not parse is left out, and the problem is noted."""
    built = ((name, _build_resource(name, section, folder, findings)) for name, section in sections.items())
    return {name: resource for name, resource in built if resource is not None}


def _build_resource(name: str, section: ResourceSection, folder: Path, findings: Findings) -> Resource | None:
    path = ("resources", name)
    _check_name(path, name, findings)
    uri = parse_uri((*path, "uri"), section.uri, findings)
    if uri is not None and uri.scheme == "http" and not is_loopback(uri.host):
        findings.add((*path, "uri"), f"`{dotted(path)}.uri` must be https: only a loopback address may be http")
    upstream = None
    if section.upstream is not None:
        upstream = build_upstream((*path, "upstream"), section.upstream, folder, findings)
    if uri is None or (section.upstream is not None and upstream is None):
        return None
    return Resource(
        name=name,
        uri=parse_resource_uri(str(uri)),
        owner=section.owner,
        scopes=_build_scopes((*path, "scopes"), section.scopes, findings),
        tenant=section.tenant,
        risk=section.risk,
        upstream=upstream,
        data_plane=section.data_plane,
        sender=section.sender,
        record_arguments=_build_recorded((*path, "record_arguments"), section.record_arguments, findings),
    )


def _build_recorded(path: tuple[Key, ...], names: Sequence[str], findings: Findings) -> tuple[str, ...]:
    for index, name in enumerate(names):
        if name in names[:index]:
            findings.add((*path, index), f"`{name}` stands twice in `{dotted(path)}`")
    return tuple(names)


def _build_scopes(path: tuple[Key, ...], sections: Mapping[str, ScopeSection], findings: Findings) -> dict[str, Scope]:
    for name in sections:
        if not _SCOPE.fullmatch(name):
            findings.add((*path, name), f"`{name}` is not a scope: printable ASCII without space, quote and backslash")
    return {
        name: Scope(name=name, says=each.says, tools=tuple(each.tools), default=each.default)
        for name, each in sections.items()
    }


def build_hops(sections: Iterable[HopSection]) -> tuple[Hop, ...]:
    """Hops, as they stand."""
    return tuple(
        Hop(
            source=section.source,
            target=section.target,
            scopes={parent: tuple(children) for parent, children in section.scopes.items()},
        )
        for section in sections
    )


def _check_name(path: tuple[Key, ...], name: str, findings: Findings) -> None:
    if not re.fullmatch(NAME, name):
        findings.add(path, f"`{name}` is not a name: letters, digits, `.`, `_`, `-`, at most 64")
