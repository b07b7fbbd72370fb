"""How a program becomes a client of an authorization server: known beforehand, by document, or by registration.

Spec: RFC 7591 §3
Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from perhop.client.authorization_metadata import AuthorizationMetadata
from perhop.client.credentials import Credential, NoCredential, SecretCredential, SecretMethod
from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.client.registered_client import RegisteredClient
from perhop.client.token_request import parse_document, refusal
from perhop.core.secret import Secret
from perhop.errors import IssuerUnavailable, RegistrationImpossible, SettingsError, TargetInvalid, TokenNotGranted
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.resource_uri import parse_http_uri

REGISTRATION_SECONDS = 10.0
MAX_ID_LENGTH = 2048

# What we can do, the least secret first: a program on a person's machine keeps no secret from that person.
_METHODS = ("none", "client_secret_basic", "client_secret_post")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is to be let in: its name for people, the clients that it is already, the address of its document."""

    name: str
    clients: tuple[RegisteredClient, ...] = ()
    document: str | None = None


def parse_client_document(url: str | None) -> str | None:
    """The address of a client id metadata document, which is the client's id: https, with a path, no query.

    Spec: MCP 2026-07-28 authorization
    Raises: SettingsError
    """
    if url is None:
        return None
    try:
        uri = parse_http_uri(url)
    except TargetInvalid as error:
        raise SettingsError(f"`{url}` cannot name a client: {error.detail}") from None
    if uri.scheme != "https" or not uri.path or uri.query is not None or str(uri) != url:
        raise SettingsError(
            f"`{url}` cannot name a client", advice="publish the document at an https URL with a path and no query"
        )
    return url


def choose_issuer(program: Program, issuers: Sequence[str], *, registered: Sequence[RegisteredClient] = ()) -> str:
    """Which of a server's authorization servers to go to: where this program is known, else the first.

    A program with clients of its own, and no document, does not become another one somewhere else by itself.

    Raises: RegistrationImpossible
    """
    for client in (*program.clients, *registered):
        if client.issuer in issuers:
            return client.issuer
    if program.clients and program.document is None:
        known = ", ".join(f"`{client.issuer}`" for client in program.clients)
        raise RegistrationImpossible(
            f"this client is registered at {known}, and the server now takes tokens of `{issuers[0]}`",
            advice="if that is right, register the client there, and give it as another one of `clients`",
        )
    return issuers[0]


def known_client(program: Program, metadata: AuthorizationMetadata) -> RegisteredClient | None:
    """The client that this program is at this server without asking: pre-registered, else by its document.

    Spec: MCP 2026-07-28 authorization
    """
    for client in program.clients:
        if client.issuer == metadata.issuer:
            return client.fitted(metadata.authentication_methods)
    if program.document is not None and metadata.takes_client_documents:
        return RegisteredClient(issuer=metadata.issuer, client_id=program.document)
    return None


async def register(
    http: httpx2.AsyncClient, metadata: AuthorizationMetadata, program: Program, *, redirect_uri: str
) -> RegisteredClient:
    """Become a client of this server now.

    Spec: RFC 7591 §3.1
    Raises: RegistrationImpossible, IssuerUnavailable
    """
    if metadata.registration_endpoint is None:
        raise RegistrationImpossible(
            f"`{metadata.issuer}` knows no client of this program, and registers none by itself",
            advice="register a client there and give it as `clients=[RegisteredClient.at(...)]`",
        )
    method = next((each for each in _METHODS if each in metadata.authentication_methods), "none")
    content = json.dumps(_request(program, method, redirect_uri)).encode()
    headers = {"accept": "application/json", "content-type": "application/json"}
    request = http.build_request("POST", metadata.registration_endpoint, content=content, headers=headers)
    answer = await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=REGISTRATION_SECONDS)
    if answer.status not in (200, 201):
        known = parse_document(answer.body) if answer.status in (400, 401, 403) else {}
        refused = refusal(answer.status, known)
        if isinstance(refused, TokenNotGranted):
            raise RegistrationImpossible(
                f"`{metadata.issuer}` does not register this program: {refused.problem.rpartition(': ')[2]}",
                advice="register a client there by hand and give it as `clients=[RegisteredClient.at(...)]`",
            )
        raise IssuerUnavailable(f"registration endpoint of `{metadata.issuer}`: HTTP {answer.status}")
    return _parse(parse_document(answer.body), metadata.issuer, method, redirect_uri)


def _request(program: Program, method: str, redirect_uri: str) -> dict[str, Any]:
    """Spec: RFC 7591 §2, RFC 8252 §8.4."""
    is_native = is_loopback(urlsplit(redirect_uri).hostname or "")
    return {
        "client_name": program.name,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "native" if is_native else "web",
    }


def _parse(document: dict[str, Any], issuer: str, asked: str, redirect_uri: str) -> RegisteredClient:
    """What we are from now on: the answer counts, and not what was asked for. Spec: RFC 7591 §3.2.1."""
    client_id, secret = document.get("client_id"), document.get("client_secret")
    if not isinstance(client_id, str) or not 0 < len(client_id) <= MAX_ID_LENGTH or not client_id.isprintable():
        raise IssuerUnavailable(f"registration endpoint of `{issuer}`: the answer names no client")
    method = document.get("token_endpoint_auth_method", asked)
    return RegisteredClient(
        issuer=issuer,
        client_id=client_id,
        credential=_credential(method, secret, issuer),
        redirect_uri=redirect_uri,
    )


def _credential(method: object, secret: object, issuer: str) -> Credential:
    if method == "none":
        return NoCredential()
    methods: dict[str, SecretMethod] = {
        "client_secret_basic": "client_secret_basic",
        "client_secret_post": "client_secret_post",
    }
    if isinstance(method, str) and method in methods and isinstance(secret, str) and secret:
        return SecretCredential(Secret(secret), methods[method])
    raise IssuerUnavailable(f"registration endpoint of `{issuer}`: a way to authenticate that we do not have")
