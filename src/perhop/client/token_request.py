"""The token endpoint, from the client's side: a form goes out, one token or one error comes back.

Spec: RFC 6749 §4.4
Spec: RFC 8693 §2
Spec: RFC 8707 §2.2
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2

from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.core.resource import ResourceUri
from perhop.core.secret import Secret
from perhop.errors import IssuerUnavailable, JsonUnparsable, TokenNotGranted
from perhop.rules.bearer import is_b64token
from perhop.rules.strict_json import parse_json

TOKEN_SECONDS = 10.0
DEFAULT_LIFETIME = 60
MAX_LIFETIME = 86_400

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
AGENT_TASK = "agent_task"
EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"

_ERROR_CODE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,200}")

Form = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token that is good for one resource. `expires_at` is in seconds since the epoch, by our clock."""

    raw: Secret
    resource: ResourceUri
    scopes: frozenset[str]
    obtained_at: float
    expires_at: float

    @property
    def refresh_at(self) -> float:
        """When to get the next one: after four fifths of the lifetime, or 30 seconds before its end if later."""
        return max(self.obtained_at + 0.8 * (self.expires_at - self.obtained_at), self.expires_at - 30)


def client_credentials_form(resource: ResourceUri, scopes: Iterable[str] | None, task: str | None) -> Form:
    """Spec: RFC 6749 §4.4.2, RFC 9396 §6."""
    details = () if task is None else (("authorization_details", json.dumps([{"type": AGENT_TASK, "id": task}])),)
    return (("grant_type", "client_credentials"), ("resource", resource), *_scope(scopes), *details)


def exchange_form(subject_token: Secret, resource: ResourceUri, scopes: Iterable[str] | None) -> Form:
    """Spec: RFC 8693 §2.1."""
    return (
        ("grant_type", EXCHANGE_GRANT),
        ("subject_token", subject_token.reveal()),
        ("subject_token_type", ACCESS_TOKEN_TYPE),
        ("resource", resource),
        *_scope(scopes),
    )


def _scope(scopes: Iterable[str] | None) -> Form:
    return () if scopes is None else (("scope", " ".join(sorted(scopes))),)


async def request_token(
    http: httpx2.AsyncClient,
    endpoint: str,
    form: Form,
    *,
    authorization: str | None,
    resource: ResourceUri,
    scopes: Iterable[str] | None,
    now: float,
) -> AccessToken:
    """Ask for one token. `now` is the time before the request, so that its lifetime is never overrated.

    Spec: RFC 6749 §5
    Raises: TokenNotGranted, IssuerUnavailable
    """
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    if authorization is not None:
        headers["authorization"] = authorization
    request = http.build_request("POST", endpoint, content=urlencode(form).encode(), headers=headers)
    answer = await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=TOKEN_SECONDS)
    document = parse_document(answer.body) if answer.status in (200, 400, 401, 403) else {}
    if answer.status != 200:
        raise refusal(answer.status, document)
    return _parse_token(document, is_exchange=form[0][1] == EXCHANGE_GRANT, resource=resource, scopes=scopes, now=now)


def parse_document(raw: bytes) -> dict[str, Any]:
    """The JSON object that an endpoint answered with.

    Raises: IssuerUnavailable
    """
    try:
        document = parse_json(raw, max_bytes=MAX_DOCUMENT_BYTES)
    except JsonUnparsable as error:
        raise IssuerUnavailable(f"token endpoint: {error.detail}") from error
    if not isinstance(document, dict):
        raise IssuerUnavailable("token endpoint: not an object")
    return document


def refusal(status: int, document: dict[str, Any]) -> TokenNotGranted | IssuerUnavailable:
    """What an answer that is no success says. Spec: RFC 6749 §5.2."""
    error, description = document.get("error"), document.get("error_description")
    if not isinstance(error, str) or not _ERROR_CODE.fullmatch(error):
        return IssuerUnavailable(f"token endpoint: HTTP {status}")
    text = description if isinstance(description, str) and _ERROR_CODE.fullmatch(description) else ""
    return TokenNotGranted(error, description=text)


def _parse_token(
    document: dict[str, Any], *, is_exchange: bool, resource: ResourceUri, scopes: Iterable[str] | None, now: float
) -> AccessToken:
    """Spec: RFC 6749 §5.1, RFC 8693 §2.2.1."""
    raw, kind = document.get("access_token"), document.get("token_type")
    lifetime, scope = document.get("expires_in", DEFAULT_LIFETIME), document.get("scope", " ".join(scopes or ()))
    if not isinstance(raw, str) or not is_b64token(raw) or not isinstance(kind, str) or kind.lower() != "bearer":
        raise IssuerUnavailable("token endpoint: the answer holds no bearer token")
    if type(lifetime) is not int or not 0 < lifetime <= MAX_LIFETIME or not isinstance(scope, str):
        raise IssuerUnavailable("token endpoint: the answer's lifetime or scope is unusable")
    if is_exchange and document.get("issued_token_type") != ACCESS_TOKEN_TYPE:
        raise IssuerUnavailable("token endpoint: the answer is not an access token")
    return AccessToken(
        raw=Secret(raw),
        resource=resource,
        scopes=frozenset(scope.split()),
        obtained_at=now,
        expires_at=now + lifetime,
    )
