"""The one place where a fact becomes an HTTP answer of the guard.

Spec: RFC 6750 §3
Spec: RFC 9728 §5.1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perhop.core.call import Headers
from perhop.core.resource import ResourceUri
from perhop.errors import BearerRefused, HttpMethodNotAllowed, Refused, Unavailable
from perhop.rules.bearer import Scheme
from perhop.rules.challenge import metadata_url, render_challenge
from perhop.rules.mcp_message import Addressee
from perhop.rules.refusal_body import refusal_body


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """The answer to send instead of serving the request.

    `reason` is the dotted code, for your log and never for the peer.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    reason: str


def render_refusal(
    fact: Refused | Unavailable,
    *,
    resource: ResourceUri,
    scopes: Sequence[str],
    to: Addressee,
    taken: Sequence[Scheme],
    more: Headers,
) -> Challenge:
    """Render a refusal: status, challenge and body, with fixed text only; a notification gets no body.

    `to` is whom it answers; `taken` are the schemes that the challenge names, `more` further headers of the answer.

    Spec: RFC 6750 §3
    """
    body = b"" if to.is_notification else refusal_body(fact, rpc_id=to.rpc_id, record=None)
    headers = [("content-length", str(len(body))), ("cache-control", "no-store")]
    if body:
        headers.append(("content-type", "application/json"))
    match fact:
        case BearerRefused():
            value = render_challenge(fact, metadata_url=metadata_url(resource), scopes=scopes, taken=taken)
            headers.append(("www-authenticate", value))
        case Unavailable():
            headers.append(("retry-after", str(fact.retry_after)))
        case HttpMethodNotAllowed():
            headers.append(("allow", fact.allow))
        case _:
            pass
    headers.extend(more)
    return Challenge(status=fact.status, headers=tuple(headers), body=body, reason=fact.reason)
