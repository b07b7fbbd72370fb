"""A server, and the authorization server that issues tokens for it: found out anew each time, as it may have changed.

Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx2

from perhop.client.authorization_metadata import AuthorizationMetadata, discover_authorization
from perhop.client.registration import Program, choose_issuer
from perhop.client.resource_metadata import ResourceMetadata, discover_resource
from perhop.client.store import Store
from perhop.core.resource import ResourceUri
from perhop.errors import ResourceUndescribed
from perhop.rules.resource_uri import parse_http_uri


@dataclass(frozen=True, slots=True)
class Place:
    """What the two say of themselves."""

    resource: ResourceMetadata
    metadata: AuthorizationMetadata


async def find_place(
    http: httpx2.AsyncClient,
    server: ResourceUri,
    *,
    challenge_url: str | None,
    program: Program,
    store: Store,
    is_old_server: bool,
) -> Place:
    """From a server's challenge to the metadata of the authorization server that this program goes to.

    Raises: ResourceForeign, ResourceUndescribed, RegistrationImpossible, IssuerUnavailable, PkceUnsupported
    """
    resource = await discover_resource(http, server, challenge_url=challenge_url)
    if resource is None and is_old_server:
        # MCP 2025-03-26: the server's origin is its authorization server.
        resource = ResourceMetadata(resource=server, indicator=server, issuers=(parse_http_uri(server).origin,))
    if resource is None:
        raise ResourceUndescribed(
            f"`{server}` does not say which authorization server issues tokens for it",
            advice="ask its operator for protected resource metadata (RFC 9728)",
        )
    registered = [client for each in resource.issuers if (client := store.client(each)) is not None]
    issuer = choose_issuer(program, resource.issuers, registered=registered)
    return Place(resource, await discover_authorization(http, issuer, has_old_defaults=is_old_server))
