"""Authorization server metadata: where an issuer's keys and endpoints are, said by the issuer itself.

Spec: RFC 8414 §3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.errors import IssuerUnavailable, JsonUnparsable, TargetInvalid
from perhop.rules.issuer_uri import is_private
from perhop.rules.public_address import is_inner_host
from perhop.rules.resource_uri import parse_http_uri
from perhop.rules.strict_json import parse_json

METADATA_SECONDS = 5.0

# Our own member of the metadata: where the signed revocation feed is. An issuer without it has no feed.
REVOCATIONS_MEMBER = "perhop_revocations_endpoint"

# Our own member: where clients begin tasks.
TASKS_MEMBER = "perhop_tasks_endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerMetadata:
    """What we need of the metadata; None where the issuer has no such endpoint."""

    issuer: str
    jwks_uri: str | None
    token_endpoint: str | None
    revocations_endpoint: str | None
    tasks_endpoint: str | None = None


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Where the metadata may be, in the order to ask: RFC 8414, then the two places of OpenID Connect.

    Spec: RFC 8414 §3.1
    """
    scheme, _, rest = issuer.partition("://")
    authority, slash, tail = rest.partition("/")
    origin, path = f"{scheme}://{authority}", (slash + tail).rstrip("/")
    urls = (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )
    return tuple(dict.fromkeys(urls))


def parse_issuer_metadata(raw: bytes, *, issuer: str) -> IssuerMetadata:
    """Read a metadata document that must be this issuer's own.

    Spec: RFC 8414 §3.3
    Raises: IssuerUnavailable
    """
    document = parse_metadata_document(raw, issuer=issuer)
    return IssuerMetadata(
        issuer=issuer,
        jwks_uri=parse_endpoint(document, "jwks_uri", issuer),
        token_endpoint=parse_endpoint(document, "token_endpoint", issuer),
        revocations_endpoint=parse_endpoint(document, REVOCATIONS_MEMBER, issuer),
        tasks_endpoint=parse_endpoint(document, TASKS_MEMBER, issuer),
    )


def parse_metadata_document(raw: bytes, *, issuer: str) -> dict[str, Any]:
    """The members of a metadata document that must be this issuer's own; nothing else of them is looked at.

    Spec: RFC 8414 §3.3
    Raises: IssuerUnavailable
    """
    try:
        document = parse_json(raw, max_bytes=MAX_DOCUMENT_BYTES)
    except JsonUnparsable as error:
        raise IssuerUnavailable(f"metadata of `{issuer}`: {error.detail}") from error
    if not isinstance(document, dict):
        raise IssuerUnavailable(f"metadata of `{issuer}`: not an object")
    if document.get("issuer") != issuer:
        raise IssuerUnavailable(f"metadata of `{issuer}` is of issuer {document.get('issuer')!a}")
    return document


async def discover(http: httpx2.AsyncClient, issuer: str) -> IssuerMetadata:
    """Fetch the metadata of an issuer.

    Spec: RFC 8414 §3
    Raises: IssuerUnavailable
    """
    status, body = await fetch_metadata(http, issuer)
    if status != 200:
        raise IssuerUnavailable(f"metadata of `{issuer}`: HTTP {status}")
    return parse_issuer_metadata(body, issuer=issuer)


async def fetch_metadata(http: httpx2.AsyncClient, issuer: str) -> tuple[int, bytes]:
    """Status and body of the first place that has something else to say than 404, or of the last one.

    Spec: RFC 8414 §3.1
    Raises: IssuerUnavailable
    """
    status, body = 404, b""
    for url in metadata_urls(issuer):
        request = http.build_request("GET", url, headers={"accept": "application/json"})
        answer = await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=METADATA_SECONDS)
        status, body = answer.status, answer.body
        if status != 404:
            break
    return status, body


def parse_endpoint(document: Mapping[str, Any], member: str, issuer: str) -> str | None:
    """A URL of the metadata: https, or http on loopback if the issuer is there too.

    An issuer that is reached by name or at a public address names no host of this machine or of an inner network by
    its address: requests of ours go there. One that is itself at such a host may, as in development and in a
    company's network. What a name resolves to is not looked at.

    Spec: MCP 2026-07-28 security best practices
    Raises: IssuerUnavailable
    """
    value = document.get(member)
    if value is None:
        return None
    unusable = IssuerUnavailable(f"metadata of `{issuer}`: unusable {member} {value!a}")
    try:
        uri = parse_http_uri(value) if isinstance(value, str) else None
    except TargetInvalid as error:
        raise unusable from error
    if uri is None or not is_private(uri) or (uri.scheme != "https" and not issuer.startswith("http://")):
        raise unusable
    if is_inner_host(uri.host) and not is_inner_host(parse_http_uri(issuer).host):
        raise unusable
    return str(value)
