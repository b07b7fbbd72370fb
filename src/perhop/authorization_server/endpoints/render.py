"""Errors and documents as responses: the only place of the authorization server that knows status codes on the wire.

Spec: RFC 6749 §5.2
Spec: RFC 6750 §3
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response

from perhop.errors import BearerRefused, Refused, TooManyRequests, Unavailable
from perhop.rules.bearer import Scheme
from perhop.rules.challenge import render_challenge

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
PUBLIC_DOCUMENT = {"access-control-allow-origin": "*", "x-content-type-options": "nosniff"}
"""For documents that anybody may read: browser-based clients too."""


def render_error(fact: Refused | Unavailable, *, tried_header: bool = False) -> Response:
    """The answer to a request that was refused, or that we cannot serve now: fixed text, no detail.

    A client that authenticated by header is told which scheme we take there.

    Spec: RFC 6749 §5.2
    """
    headers = dict(NO_STORE)
    if fact.status == 401 and tried_header:
        headers["www-authenticate"] = 'Basic realm="perhop", charset="UTF-8"'
    if isinstance(fact, Unavailable | TooManyRequests):
        headers["retry-after"] = str(fact.retry_after)
    body = {"error": fact.error, "error_description": fact.description}
    return JSONResponse(body, status_code=fact.status, headers=headers)


def render_bearer_error(
    fact: BearerRefused, *, metadata_url: str, scopes: Sequence[str], taken: Sequence[Scheme]
) -> Response:
    """The answer to a token that is not good here: a challenge, and no body. Spec: RFC 6750 §3."""
    challenge = render_challenge(fact, metadata_url=metadata_url, scopes=scopes, taken=taken)
    return Response(status_code=fact.status, headers={**NO_STORE, "www-authenticate": challenge})


def render_internal_error() -> Response:
    """The answer when something broke that we did not foresee: nothing was granted."""
    body = {"error": "server_error", "error_description": "the server failed"}
    return JSONResponse(body, status_code=500, headers=dict(NO_STORE))


def render_public(document: Mapping[str, Any], *, max_age: int) -> Response:
    """A document that anybody may read and keep for a while."""
    headers = {**PUBLIC_DOCUMENT, "cache-control": f"public, max-age={max_age}"}
    return Response(json.dumps(document, indent=1), media_type="application/json", headers=headers)
