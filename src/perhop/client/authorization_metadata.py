"""What an authorization server says of the ways in which people and new clients come to it.

Spec: RFC 8414 §2
Spec: RFC 9207 §3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from perhop.client.discovery import fetch_metadata, parse_endpoint, parse_metadata_document
from perhop.errors import IssuerUnavailable, PkceUnsupported
from perhop.rules.pkce import CHALLENGE_METHOD


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationMetadata:
    """Endpoints and abilities; what is not said is not there."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None
    scopes: frozenset[str] = frozenset()
    authentication_methods: frozenset[str] = frozenset({"client_secret_basic"})
    proof_algorithms: frozenset[str] = frozenset()
    takes_client_documents: bool = False
    promises_issuer: bool = False


async def discover_authorization(
    http: httpx2.AsyncClient, issuer: str, *, has_old_defaults: bool = False
) -> AuthorizationMetadata:
    """Fetch the metadata of an authorization server that people are to be sent to.

    With `has_old_defaults`, one without any metadata has the endpoints of the first revision of MCP.

    Spec: RFC 8414 §3
    Raises: IssuerUnavailable, PkceUnsupported
    """
    status, body = await fetch_metadata(http, issuer)
    if status == 404 and has_old_defaults:
        return _old_defaults(issuer)
    if status != 200:
        raise IssuerUnavailable(f"metadata of `{issuer}`: HTTP {status}")
    return parse_authorization_metadata(body, issuer=issuer)


def parse_authorization_metadata(raw: bytes, *, issuer: str) -> AuthorizationMetadata:
    """Read a document that must be this issuer's own, and that must promise PKCE with S256.

    Spec: RFC 8414 §2
    Spec: MCP 2026-07-28 authorization
    Raises: IssuerUnavailable, PkceUnsupported
    """
    document = parse_metadata_document(raw, issuer=issuer)
    if CHALLENGE_METHOD not in _texts(document, "code_challenge_methods_supported"):
        raise PkceUnsupported(
            f"`{issuer}` does not say that it takes PKCE with S256", advice="ask its operator to switch PKCE on"
        )
    authorization_endpoint = parse_endpoint(document, "authorization_endpoint", issuer)
    token_endpoint = parse_endpoint(document, "token_endpoint", issuer)
    if authorization_endpoint is None or token_endpoint is None:
        raise IssuerUnavailable(f"metadata of `{issuer}` lacks an endpoint for signing in")
    methods = {"authentication_methods": _texts(document, "token_endpoint_auth_methods_supported")}
    if "token_endpoint_auth_methods_supported" not in document:
        methods = {}  # RFC 8414 §2: then it is client_secret_basic
    return AuthorizationMetadata(
        issuer=issuer,
        authorization_endpoint=authorization_endpoint,
        token_endpoint=token_endpoint,
        registration_endpoint=parse_endpoint(document, "registration_endpoint", issuer),
        scopes=_texts(document, "scopes_supported"),
        proof_algorithms=_texts(document, "dpop_signing_alg_values_supported"),
        takes_client_documents=document.get("client_id_metadata_document_supported") is True,
        # Whatever else than a no stands there: a promise that cannot be read is not taken for none.
        promises_issuer=document.get("authorization_response_iss_parameter_supported", False) not in (False, None),
        **methods,
    )


def _old_defaults(issuer: str) -> AuthorizationMetadata:
    """Spec: MCP 2025-03-26 authorization."""
    return AuthorizationMetadata(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/authorize",
        token_endpoint=f"{issuer}/token",
        registration_endpoint=f"{issuer}/register",
    )


def _texts(document: Mapping[str, Any], member: str) -> frozenset[str]:
    value = document.get(member)
    return frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else frozenset()
