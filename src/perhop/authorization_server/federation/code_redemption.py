"""A provider's code becomes an ID token, and where that is silent, UserInfo speaks. Neither is kept.

Spec: OpenID Connect Core 1.0 §3.1.3
Spec: OpenID Connect Core 1.0 §5.3
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx2

from perhop.authorization_server.federation.attempts import Attempt
from perhop.authorization_server.federation.provider_documents import BASIC, ProviderMetadata
from perhop.client.fetch import MAX_DOCUMENT_BYTES, Answer, fetch
from perhop.core.provider import Provider
from perhop.core.secret import Secret
from perhop.errors import (
    IdTokenRefused,
    IssuerUnavailable,
    JsonUnparsable,
    ProviderRefused,
    ProviderUnavailable,
    TokenMalformed,
)
from perhop.rules.bearer import is_b64token
from perhop.rules.strict_json import parse_json

TOKEN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """What the provider gave for the code. Nothing of it is looked at yet."""

    id_token: str
    access_token: Secret | None


async def redeem_code(
    code: str, attempt: Attempt, provider: Provider, metadata: ProviderMetadata, http: httpx2.AsyncClient
) -> Redeemed:
    """Redeem a code, with the verifier of the attempt that it answers, at the provider that was asked.

    Spec: OpenID Connect Core 1.0 §3.1.3.1
    Spec: RFC 7636 §4.5
    Raises: ProviderRefused, ProviderUnavailable, IdTokenRefused
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": attempt.redirect_uri,
        "code_verifier": attempt.verifier.reveal(),
    }
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    secret = provider.client_secret.reveal()
    if metadata.authentication == BASIC:
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    else:
        form |= {"client_id": provider.client_id, "client_secret": secret}
    request = http.build_request("POST", metadata.token_endpoint, content=urlencode(form).encode(), headers=headers)
    answer = await _ask(http, request)
    if answer.status in (400, 401, 403):
        raise ProviderRefused(f"the token endpoint of `{provider.issuer}` refused the code: HTTP {answer.status}")
    document = _document(answer, metadata.token_endpoint)
    id_token, access_token = document.get("id_token"), document.get("access_token")
    if not isinstance(id_token, str):
        raise IdTokenRefused(TokenMalformed("the provider gave no ID token"))
    is_usable = isinstance(access_token, str) and is_b64token(access_token)
    return Redeemed(id_token=id_token, access_token=Secret(str(access_token)) if is_usable else None)


async def ask_userinfo(
    access_token: Secret | None, metadata: ProviderMetadata, http: httpx2.AsyncClient, *, subject: str
) -> Mapping[str, Any]:
    """What the provider says of the person besides; nothing, where it has no such endpoint.

    What is said of somebody else than the ID token named is not taken: it would be a token substitution.

    Spec: OpenID Connect Core 1.0 §5.3.2
    Raises: ProviderUnavailable, IdTokenRefused
    """
    if access_token is None or metadata.userinfo_endpoint is None:
        return {}
    headers = {"accept": "application/json", "authorization": f"Bearer {access_token.reveal()}"}
    answer = await _ask(http, http.build_request("GET", metadata.userinfo_endpoint, headers=headers))
    claims = _document(answer, metadata.userinfo_endpoint)
    if claims.get("sub") != subject:
        raise IdTokenRefused(TokenMalformed("UserInfo is of another subject than the ID token"))
    return claims


async def _ask(http: httpx2.AsyncClient, request: httpx2.Request) -> Answer:
    try:
        return await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=TOKEN_SECONDS)
    except IssuerUnavailable as error:
        raise ProviderUnavailable(error.detail) from error


def _document(answer: Answer, url: str) -> dict[str, Any]:
    if answer.status != 200:
        raise ProviderUnavailable(f"{url}: HTTP {answer.status}")
    try:
        document = parse_json(answer.body, max_bytes=MAX_DOCUMENT_BYTES)
    except JsonUnparsable as error:
        raise ProviderUnavailable(f"{url}: {error.detail}") from None
    if not isinstance(document, dict):
        raise ProviderUnavailable(f"{url}: not an object")
    return document
