"""Protected resource metadata: which authorization servers issue tokens for a server, said by the server itself.

Spec: RFC 9728 §3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.core.resource import ResourceUri
from perhop.errors import IssuerUnavailable, JsonUnparsable, ResourceForeign, SettingsError, TargetInvalid
from perhop.rules.challenge import WELL_KNOWN, metadata_url
from perhop.rules.issuer_uri import is_loopback, parse_issuer
from perhop.rules.public_address import is_inner_host
from perhop.rules.resource_uri import HttpUri, parse_http_uri, parse_resource_uri
from perhop.rules.strict_json import parse_json

METADATA_SECONDS = 5.0
MAX_ISSUERS = 10
MAX_SCOPES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetadata:
    """What a server says of itself.

    `indicator` is the resource as the document spells it, which is how the authorization server will know it;
    `resource` is its canonical form. `proof_algorithms` is what DPoP proofs may be signed with, empty where none are
    taken.
    """

    resource: ResourceUri
    indicator: str
    issuers: tuple[str, ...]
    scopes: frozenset[str] = frozenset()
    proof_algorithms: frozenset[str] = frozenset()
    needs_proofs: bool = False


async def discover_resource(
    http: httpx2.AsyncClient, server: ResourceUri, *, challenge_url: str | None = None
) -> ResourceMetadata | None:
    """Fetch the metadata of a server: where its challenge points, else beside its path, else at its root.

    None if it has none anywhere.

    Spec: RFC 9728 §3.1
    Spec: RFC 9728 §5.1
    Spec: MCP 2026-07-28 authorization
    Raises: ResourceForeign, IssuerUnavailable
    """
    home = parse_http_uri(server)
    root = home.origin + WELL_KNOWN
    named = () if challenge_url is None else (_of_home(challenge_url, home),)
    for url in dict.fromkeys((*named, metadata_url(server), root)):
        request = http.build_request("GET", url, headers={"accept": "application/json"})
        answer = await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=METADATA_SECONDS)
        if answer.status == 200:
            # Only the document at the root may speak for the whole origin: RFC 9728 §3.3 compares with the
            # identifier that the well-known suffix was put into.
            names = (server, parse_resource_uri(home.origin)) if url == root else (server,)
            return parse_resource_metadata(answer.body, server=server, names=names)
        if answer.status != 404:
            raise IssuerUnavailable(f"resource metadata of `{server}`: HTTP {answer.status}")
    return None


def parse_resource_metadata(raw: bytes, *, server: ResourceUri, names: tuple[ResourceUri, ...]) -> ResourceMetadata:
    """Read a document that must be of one of these names; `server` is what is called.

    Spec: RFC 9728 §3.2
    Spec: RFC 9728 §3.3
    Raises: ResourceForeign, IssuerUnavailable
    """
    document = _parse(raw, server)
    indicator = document.get("resource")
    try:
        resource = parse_resource_uri(indicator) if isinstance(indicator, str) else None
    except TargetInvalid:
        resource = None
    if not isinstance(indicator, str) or resource is None or resource not in names:
        raise ResourceForeign(
            f"`{server}` describes itself as {indicator!a:.300}",
            advice="call the server at the URI that its metadata names, or ask its operator to mend the metadata",
        )
    return ResourceMetadata(
        resource=resource,
        indicator=indicator,
        issuers=_issuers(document, server),
        scopes=_texts(document, "scopes_supported"),
        proof_algorithms=_texts(document, "dpop_signing_alg_values_supported"),
        needs_proofs=document.get("dpop_bound_access_tokens_required") is True,
    )


def _of_home(url: str, home: HttpUri) -> str:
    """The URL of a challenge, if the server that sent it is also the one that answers there.

    DEVIATES: RFC 9728 §5.1 lets it be anywhere. A server could send us to any address that we reach and it does not.
    """
    try:
        uri = parse_http_uri(url)
    except TargetInvalid as error:
        raise ResourceForeign(f"the challenge of `{home}` names no URL: {error.detail}") from None
    if uri.origin != home.origin:
        raise ResourceForeign(f"the challenge of `{home}` points to metadata at another origin, `{uri.origin}`")
    return url


def _parse(raw: bytes, server: ResourceUri) -> Mapping[str, Any]:
    try:
        document = parse_json(raw, max_bytes=MAX_DOCUMENT_BYTES)
    except JsonUnparsable as error:
        raise IssuerUnavailable(f"resource metadata of `{server}`: {error.detail}") from error
    if not isinstance(document, dict):
        raise IssuerUnavailable(f"resource metadata of `{server}`: not an object")
    return document


def _issuers(document: Mapping[str, Any], server: ResourceUri) -> tuple[str, ...]:
    """Issuers as they are written; one on this machine only for a server on this machine, and so for inner networks.

    What a name resolves to is not looked at.
    """
    named = document.get("authorization_servers")
    if not isinstance(named, list) or not 0 < len(named) <= MAX_ISSUERS:
        raise IssuerUnavailable(f"resource metadata of `{server}`: no usable `authorization_servers`")
    issuers = []
    for each in named:
        try:
            issuers.append(parse_issuer(each if isinstance(each, str) else ""))
        except SettingsError as error:
            raise IssuerUnavailable(f"resource metadata of `{server}`: {error.problem}") from None
        there, here = parse_http_uri(each).host, parse_http_uri(server).host
        if is_loopback(there) and not is_loopback(here):
            raise ResourceForeign(f"`{server}` points to an authorization server on this machine, `{each}`")
        if is_inner_host(there) and not is_inner_host(here):
            raise ResourceForeign(f"`{server}` points to an authorization server in an inner network, `{each}`")
    return tuple(issuers)


def _texts(document: Mapping[str, Any], member: str) -> frozenset[str]:
    """A list of texts; anything else says nothing."""
    value = document.get(member)
    if not isinstance(value, list) or len(value) > MAX_SCOPES or not all(isinstance(each, str) for each in value):
        return frozenset()
    return frozenset(value)
