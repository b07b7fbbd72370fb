"""What the guard knows of a call, on the span that the server's framework has made for it. Makes no span.

For the adapters only: OpenTelemetry comes with their frameworks, and is no dependency of this library.
INVARIANT: no token, no subject and no client goes into a trace; of a token's id, a digest.
"""

from __future__ import annotations

import hashlib

from opentelemetry.trace import get_current_span

from perhop.core.token import BoundToken
from perhop.resource_server.asgi import current_call_id, current_token


def describe_hop() -> None:
    """Put the hop on the current span, where the guard has admitted the request; elsewhere nothing."""
    span = get_current_span()
    if not span.is_recording():
        return
    try:
        span.set_attributes(hop_attributes(current_token(), current_call_id()))
    except LookupError:
        return


def hop_attributes(token: BoundToken, call_id: str | None) -> dict[str, str | int]:
    """The attributes by name; what is not known is left out."""
    known: dict[str, str | int | None] = {
        "perhop.decision": "admitted",
        "perhop.audience": str(token.resource),
        "perhop.jti_sha256": hashlib.sha256(token.jti.encode()).hexdigest(),
        "perhop.hop": token.token.hop,
        "perhop.txn": token.txn,
        "perhop.call_id": call_id,
    }
    return {name: value for name, value in known.items() if value is not None}
