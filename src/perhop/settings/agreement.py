"""Whether the parts of a configuration agree: every name stands for something, every URI for one thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from perhop.core.resource import DataPlane, Resource
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.resource_uri import HttpUri, parse_http_uri
from perhop.settings.model import ClientSection, File, HopSection
from perhop.settings.problems import Findings, did_you_mean, dotted
from perhop.settings.sources import Key

OWN_PATHS = frozenset(
    {
        *("authorize", "token", "introspect", "revoke", "revocations", "jwks", "register", "par", "tasks", "status"),
        *("sign-in", "sign-out", "my-access", "consent", "records", "canary", "access", "authz", ".well-known"),
    }
)
"""First segments, below the issuer, that the authorization server answers itself."""


def check_agreement(file: File, resources: Mapping[str, Resource], findings: Findings) -> None:
    """Look at every reference and at every pair of URIs."""
    for section, objects in (("resources", file.resources), ("clients", file.clients)):
        for name, each in objects.items():
            if each.owner not in file.owners:
                _unknown_owner((section, name, "owner"), each.owner, file, findings)
    for id_, client in file.clients.items():
        _check_client(("clients", id_), client, file, findings)
    for index, rule in enumerate(file.client_documents):
        path: tuple[Key, ...] = ("client_documents", index)
        if rule.owner not in file.owners:
            _unknown_owner((*path, "owner"), rule.owner, file, findings)
        _check_reaches(path, rule.reaches, file, findings)
    for index, hop in enumerate(file.hops):
        _check_hop(("hops", index), hop, file, findings)
        if any((hop.source, hop.target) == (other.source, other.target) for other in file.hops[:index]):
            findings.add(("hops", index), f"the hop from `{hop.source}` to `{hop.target}` stands twice")
    _check_audiences(file.issuer, resources, findings)
    _check_places(file.issuer, resources, findings)
    _check_data_planes(file, resources, findings)


def _unknown_owner(path: tuple[Key, ...], owner: str, file: File, findings: Findings) -> None:
    text = f"unknown owner `{owner}` in `{dotted(path[:2])}` (owner.missing)"
    findings.add(path, text, did_you_mean(owner, file.owners) or "name it under `owners`")


def _check_client(path: tuple[Key, ...], client: ClientSection, file: File, findings: Findings) -> None:
    _check_reaches(path, client.reaches, file, findings)
    for index, name in enumerate(client.serves):
        _is_resource((*path, "serves", index), name, file, findings)
    if client.default_resource is not None and client.default_resource not in client.reaches:
        where = (*path, "default_resource")
        findings.add_unknown(where, "reach", client.default_resource, client.reaches)


def _check_reaches(path: tuple[Key, ...], reaches: Mapping[str, list[str]], file: File, findings: Findings) -> None:
    for name, scopes in reaches.items():
        where = (*path, "reaches", name)
        if not scopes:
            findings.add(where, f"`{dotted(where)}` names no scope")
        if _is_resource(where, name, file, findings):
            _check_scopes(where, name, scopes, file, findings)


def _check_hop(path: tuple[Key, ...], hop: HopSection, file: File, findings: Findings) -> None:
    if hop.source == hop.target:
        findings.add((*path, "to"), f"the hop leads from `{hop.source}` to itself")
    if _is_resource((*path, "from"), hop.source, file, findings):
        _check_scopes((*path, "scopes"), hop.source, hop.scopes, file, findings)
    if _is_resource((*path, "to"), hop.target, file, findings):
        for parent, children in hop.scopes.items():
            where = (*path, "scopes", parent)
            if not children:
                findings.add(where, f"`{dotted(where)}` names no scope")
            _check_scopes(where, hop.target, children, file, findings)


def _is_resource(path: tuple[Key, ...], name: str, file: File, findings: Findings) -> bool:
    if name not in file.resources:
        findings.add_unknown(path, "resource", name, file.resources)
        return False
    return True


def _check_scopes(path: tuple[Key, ...], name: str, scopes: Iterable[str], file: File, findings: Findings) -> None:
    known = file.resources[name].scopes
    for scope in scopes:
        if scope not in known:
            text = f"unknown scope `{scope}` of resource `{name}` in `{dotted(path)}`"
            findings.add(path, text, did_you_mean(scope, known))


def _check_audiences(issuer: str, resources: Mapping[str, Resource], findings: Findings) -> None:
    """One audience, one thing: otherwise a token for one would be good at another."""
    taken = {issuer: "the issuer", f"{issuer}/records": "built in"}
    for path, audience in _audiences(resources):
        if audience in taken:
            findings.add(path, f"`{dotted(path)}` is `{audience}`, which is taken: {taken[audience]}")
        elif audience.startswith(f"{issuer}/canary/"):
            findings.add(path, f"`{dotted(path)}` lies under `{issuer}/canary/`, which is never a resource")
        else:
            taken[audience] = f"`{dotted(path)}`"


def _audiences(resources: Mapping[str, Resource]) -> Iterator[tuple[tuple[Key, ...], str]]:
    for name, resource in resources.items():
        yield ("resources", name, "uri"), resource.uri
        if resource.upstream is not None and resource.upstream.resource is not None:
            yield ("resources", name, "upstream", "resource"), resource.upstream.resource


def _check_places(issuer: str, resources: Mapping[str, Resource], findings: Findings) -> None:
    """What the gateway answers must not be answered by anything else of ours."""
    taken: dict[str, str] = {}
    for name, resource in resources.items():
        if resource.upstream is None:
            continue
        path = ("resources", name, "uri")
        uri = parse_http_uri(resource.uri)
        first = taken.setdefault(uri.path, name)
        if first != name:
            findings.add(path, f"`{dotted(path)}` has the path of `resources.{first}.uri`")
        if uri.query is not None:
            findings.add(path, f"`{dotted(path)}` has a query, which the gateway cannot tell resources by")
        if uri.path.startswith("/.well-known/") or _is_own(issuer, uri.path):
            findings.add(path, f"`{dotted(path)}` is a path that Perhop answers itself", "put it under `/mcp/`")
        if resource.upstream.url is not None and _is_one_place(parse_http_uri(resource.upstream.url), uri):
            findings.add(("resources", name, "upstream", "url"), f"`resources.{name}` is its own upstream")


def _is_one_place(one: HttpUri, other: HttpUri) -> bool:
    """True for the same URI, and on this machine for any of its names."""
    on_this_machine = is_loopback(one.host) and is_loopback(other.host)
    return replace(one, host=other.host) == other if on_this_machine else one == other


def _check_data_planes(file: File, resources: Mapping[str, Resource], findings: Findings) -> None:
    """Another proxy carries calls to a server that has a URL, and must have somewhere to ask."""
    for name, resource in resources.items():
        path = ("resources", name, "data_plane")
        if resource.data_plane is DataPlane.GATEWAY:
            continue
        if resource.upstream is None or resource.upstream.url is None:
            text = f"`resources.{name}` has no `upstream` with a `url`, which is where the other proxy forwards to"
            findings.add(path, text)
        if file.listen.authz is None:
            text = f"`{dotted(path)}` is `{resource.data_plane.value}`, and there is no `listen.authz` to ask at"
            findings.add(path, text, "write `authz: unix:authz.sock` under `listen`")


def _is_own(issuer: str, path: str) -> bool:
    base = "/" + issuer.partition("://")[2].partition("/")[2].rstrip("/")
    below = path.removeprefix(base.rstrip("/")) if path.startswith(base) else ""
    return below.strip("/").partition("/")[0] in OWN_PATHS
