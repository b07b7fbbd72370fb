"""From sections to owners, resources and hops: every value is parsed once, here. What does not parse becomes a problem.

Whether names agree with each other is looked at in `perhop.settings.agreement`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from perhop.core.owner import Owner
from perhop.core.resource import CredentialKind, Hop, Resource, Scope, Upstream
from perhop.errors import TargetInvalid
from perhop.rules.resource_uri import HttpUri, parse_http_uri, parse_resource_uri
from perhop.settings.addresses import is_loopback
from perhop.settings.model import (
    NAME,
    HopSection,
    OwnerSection,
    ResourceSection,
    ScopeSection,
    UpstreamSection,
)
from perhop.settings.problems import Findings, dotted
from perhop.settings.sources import Key

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")  # RFC 6749 §3.3: scope-token


def build_owners(sections: Mapping[str, OwnerSection], findings: Findings) -> dict[str, Owner]:
    """Owners; addresses in lower case, as accounts have them."""
    for name in sections:
        _check_name(("owners", name), name, findings)
    return {
        name: Owner(
            name=name,
            contact=section.contact,
            members=tuple(each.lower() for each in section.members),
            deputies=tuple(each.lower() for each in section.deputies),
        )
        for name, section in sections.items()
    }


def build_resources(sections: Mapping[str, ResourceSection], findings: Findings) -> dict[str, Resource]:
    """Resources; one whose URI does not parse is left out, and the problem is noted."""
    built = ((name, _build_resource(name, section, findings)) for name, section in sections.items())
    return {name: resource for name, resource in built if resource is not None}


def _build_resource(name: str, section: ResourceSection, findings: Findings) -> Resource | None:
    path = ("resources", name)
    _check_name(path, name, findings)
    uri = parse_uri((*path, "uri"), section.uri, findings)
    if uri is not None and uri.scheme == "http" and not is_loopback(uri.host):
        findings.add((*path, "uri"), f"`{dotted(path)}.uri` must be https: only a loopback address may be http")
    upstream = None if section.upstream is None else _build_upstream((*path, "upstream"), section.upstream, findings)
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
    )


def _build_scopes(path: tuple[Key, ...], sections: Mapping[str, ScopeSection], findings: Findings) -> dict[str, Scope]:
    for name in sections:
        if not _SCOPE.fullmatch(name):
            findings.add((*path, name), f"`{name}` is not a scope: printable ASCII without space, quote and backslash")
    return {
        name: Scope(name=name, says=each.says, tools=tuple(each.tools), default=each.default)
        for name, each in sections.items()
    }


def _build_upstream(path: tuple[Key, ...], section: UpstreamSection, findings: Findings) -> Upstream | None:
    url = parse_uri((*path, "url"), section.url, findings)
    resource = None
    if section.resource is not None:
        resource = parse_uri((*path, "resource"), section.resource, findings)
        if resource is None:
            return None
    if url is None:
        return None
    kind = section.credential.kind
    if kind.is_token and resource is None:
        findings.add(path, f"`{dotted(path)}` has no `resource`: the audience of the tokens that it is sent")
    if kind is CredentialKind.NONE and not is_loopback(url.host) and not section.unsafe_open_upstream:
        findings.add(
            (*path, "credential"),
            f"`{dotted(path)}.credential` is `none` for a server that is not on this machine",
            "use `kind: exchange`; `unsafe_open_upstream: true` leaves the server open to whoever reaches it",
        )
    if kind.is_token and url.scheme == "http" and not is_loopback(url.host):
        findings.add(
            (*path, "url"),
            f"`{dotted(path)}.url` must be https, since tokens are sent there: only a loopback address may be http",
        )
    return Upstream(
        url=str(url),
        resource=None if resource is None else parse_resource_uri(str(resource)),
        credential=kind,
        unsafe_open_upstream=section.unsafe_open_upstream,
    )


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


def parse_uri(path: tuple[Key, ...], text: str, findings: Findings) -> HttpUri | None:
    """The canonical form; None if there is none, and the problem is noted."""
    try:
        return parse_http_uri(text)
    except TargetInvalid as error:
        findings.add(path, f"`{dotted(path)}` is not a canonical URI: {error.detail}")
        return None


def _check_name(path: tuple[Key, ...], name: str, findings: Findings) -> None:
    if not re.fullmatch(NAME, name):
        findings.add(path, f"`{name}` is not a name: letters, digits, `.`, `_`, `-`, at most 64")
