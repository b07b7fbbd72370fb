"""The token endpoint, from the client's side: a form goes out, one token or one error comes back.

Spec: RFC 6749 §4.4
Spec: RFC 8693 §2
Spec: RFC 8707 §2.2
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2

from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.client.proof_key import NEEDS_NONCE, ProofKey
from perhop.core.resource import ResourceUri
from perhop.core.secret import Secret
from perhop.errors import IssuerUnavailable, JsonUnparsable, SenderConstraintMissing, TokenNotGranted
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
Identity = Callable[[], tuple[str | None, Form]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token that is good for one resource. `expires_at` is in seconds since the epoch, by our clock.

    `proofs` is the key that it is bound to: then it is good only together with a proof. None for a bearer token.
    """

    raw: Secret
    resource: ResourceUri
    scopes: frozenset[str]
    obtained_at: float
    expires_at: float
    proofs: ProofKey | None = None

    @property
    def refresh_at(self) -> float:
        """When to get the next one: after four fifths of the lifetime, or 30 seconds before its end if later."""
        return max(self.obtained_at + 0.8 * (self.expires_at - self.obtained_at), self.expires_at - 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """One request: where to, what is asked, and who asks.

    `identity` gives the Authorization header, if any, and the parameters that say who asks: anew each time it is sent,
    since an assertion is good once. The form does not print: it holds tokens, codes and assertions.
    """

    endpoint: str
    form: Form = field(repr=False)
    identity: Identity
    proofs: ProofKey | None = None


def client_credentials_form(resource: ResourceUri, scopes: Iterable[str] | None, task: str | None) -> Form:
    """Spec: RFC 6749 §4.4.2, RFC 9396 §6."""
    details = () if task is None else (("authorization_details", json.dumps([{"type": AGENT_TASK, "id": task}])),)
    return (("grant_type", "client_credentials"), ("resource", resource), *scope_form(scopes), *details)


def exchange_form(subject_token: Secret, resource: ResourceUri, scopes: Iterable[str] | None) -> Form:
    """Spec: RFC 8693 §2.1."""
    return (
        ("grant_type", EXCHANGE_GRANT),
        ("subject_token", subject_token.reveal()),
        ("subject_token_type", ACCESS_TOKEN_TYPE),
        ("resource", resource),
        *scope_form(scopes),
    )


def scope_form(scopes: Iterable[str] | None) -> Form:
    """The scopes to ask for, in one order; no parameter at all for None. Spec: RFC 6749 §3.3."""
    return () if scopes is None else (("scope", " ".join(sorted(scopes))),)


async def ask_for_token(http: httpx2.AsyncClient, asked: TokenRequest) -> dict[str, Any]:
    """What the token endpoint granted, unread. Asked once more where it wants a nonce in the proof, and never else.

    Spec: RFC 6749 §5
    Spec: RFC 9449 §8
    Raises: TokenNotGranted, IssuerUnavailable
    """
    is_new_nonce, status, document = await _ask(http, asked)
    if status == 400 and is_new_nonce and document.get("error") == NEEDS_NONCE:
        _, status, document = await _ask(http, asked)
    if status != 200:
        raise refusal(status, document)
    return document


async def _ask(http: httpx2.AsyncClient, asked: TokenRequest) -> tuple[bool, int, dict[str, Any]]:
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    authorization, who = asked.identity()
    if authorization is not None:
        headers["authorization"] = authorization
    request = http.build_request("POST", asked.endpoint, content=urlencode(asked.form + who).encode(), headers=headers)
    if asked.proofs is not None:
        request.headers["dpop"] = asked.proofs.proof("POST", request.url)
    answer = await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=TOKEN_SECONDS)
    is_new_nonce = asked.proofs is not None and asked.proofs.hear(request.url, answer.headers)
    document = parse_document(answer.body) if answer.status in (200, 400, 401, 403) else {}
    return is_new_nonce, answer.status, document


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


def parse_access_token(
    document: dict[str, Any],
    asked: TokenRequest,
    *,
    resource: ResourceUri,
    scopes: Iterable[str] | None,
    now: float,
) -> AccessToken:
    """The token of a successful answer. `now` is the time before the request, so that no lifetime is overrated.

    A token that is not bound to our key is not taken where one was asked for.

    Spec: RFC 6749 §5.1
    Spec: RFC 8693 §2.2.1
    Spec: RFC 9449 §5
    Raises: IssuerUnavailable, SenderConstraintMissing
    """
    raw, kind = document.get("access_token"), document.get("token_type")
    lifetime, scope = document.get("expires_in", DEFAULT_LIFETIME), document.get("scope", " ".join(scopes or ()))
    if not isinstance(raw, str) or not is_b64token(raw) or not isinstance(kind, str):
        raise IssuerUnavailable("token endpoint: the answer holds no token")
    if asked.proofs is not None and kind.lower() != "dpop":
        raise SenderConstraintMissing(
            "the authorization server issued a token that is not bound to our key",
            advice="ask for a bearer token if you must: leave `dpop` out",
        )
    if asked.proofs is None and kind.lower() != "bearer":
        raise IssuerUnavailable("token endpoint: the answer holds no bearer token")
    if type(lifetime) is not int or not 0 < lifetime <= MAX_LIFETIME or not isinstance(scope, str):
        raise IssuerUnavailable("token endpoint: the answer's lifetime or scope is unusable")
    if asked.form[0][1] == EXCHANGE_GRANT and document.get("issued_token_type") != ACCESS_TOKEN_TYPE:
        raise IssuerUnavailable("token endpoint: the answer is not an access token")
    return AccessToken(
        raw=Secret(raw),
        resource=resource,
        scopes=frozenset(scope.split()),
        obtained_at=now,
        expires_at=now + lifetime,
        proofs=asked.proofs,
    )
