"""The body of a refusal: fixed text and a dotted reason, as a JSON-RPC error, or no body at all.

The challenge is for the edge that answers.

Spec: JSON-RPC 2.0
Spec: MCP 2026-07-28 base protocol
Spec: RFC 6750 §3.1
"""

from __future__ import annotations

from typing import Any

from perhop.errors import (
    ApprovalRequired,
    BearerRefused,
    LimitExceeded,
    PolicyRefused,
    RateExceeded,
    Refused,
    RequestRefused,
    RevisionUnsupported,
    TokenRefused,
    TooManyApprovals,
    Unavailable,
)
from perhop.rules.mcp_message import render_json

STREAM_ENDED = -31401
POLICY_REFUSED = -31403
LIMIT_EXCEEDED = -31429
UNAVAILABLE = -31503


def refusal_body(fact: Refused | Unavailable, *, rpc_id: str | int | None, record: str | None) -> bytes:
    """The body that goes with a refusal; empty where there is none.

    A token that is not good gets no body: the challenge says it all. `record` is the id of the call's record.

    Spec: RFC 6750 §3.1
    """
    details: dict[str, Any] = {"reason": fact.reason}
    if record is not None:
        details["record"] = record
    match fact:
        case BearerRefused():
            return b""
        case RevisionUnsupported():
            details = {"supported": list(fact.supported), "requested": fact.requested, **details}
            return _error(fact.rpc_code, _spoken(fact), rpc_id, details)
        case RequestRefused():
            return _error(fact.rpc_code, fact.description, rpc_id, details)
        case LimitExceeded() | RateExceeded() | TooManyApprovals():
            return _error(LIMIT_EXCEEDED, fact.description, rpc_id, details)
        case ApprovalRequired(approval=approval, expires_in=expires_in):
            details = {**details, "approval": approval, "expires_in": expires_in}
            return _error(POLICY_REFUSED, fact.description, rpc_id, details)
        case PolicyRefused() | TokenRefused():
            return _error(POLICY_REFUSED, fact.description, rpc_id, details)
        case Unavailable():
            return _error(UNAVAILABLE, fact.description, rpc_id, details)
        case _:
            return b""


def refusal_status(fact: Refused | Unavailable) -> int:
    """The HTTP status of a refusal at an MCP endpoint.

    What refuses a token exchange is there a decision about the caller, not a malformed request: 403.

    Spec: RFC 6750 §3.1
    """
    return 403 if isinstance(fact, TokenRefused) else fact.status


def stream_end_body(fact: Refused | Unavailable, *, rpc_id: str | int | None, record: str | None) -> bytes:
    """The last message of a stream that is cut before its answer came."""
    details: dict[str, Any] = {"reason": fact.reason}
    if record is not None:
        details["record"] = record
    return _error(STREAM_ENDED, fact.description, rpc_id, details)


def _spoken(fact: RevisionUnsupported) -> str:
    """A client of the handshake may have nothing but this text to show. Spec: MCP 2026-07-28 versioning."""
    return f"{fact.description}; spoken here: {', '.join(fact.supported)}" if fact.supported else fact.description


def _error(code: int | None, message: str, rpc_id: str | int | None, details: dict[str, Any]) -> bytes:
    if code is None:
        return b""
    error = {"code": code, "message": message, "data": details}
    return render_json({"jsonrpc": "2.0", "id": rpc_id, "error": error})
