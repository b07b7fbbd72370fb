"""Token records for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perhop.authorization_server.store import TokenRecord

_RECORD = TokenRecord(
    jti="jti-1",
    parent_jti=None,
    txn="txn-1",
    hop=1,
    audience="http://127.0.0.1:8420/mcp/calendar",
    subject="trip-planner",
    agent="trip-planner",
    client_id="trip-planner",
    scope="calendar:read",
    issued_at=1_790_000_000,
    expires_at=1_790_000_300,
    tenant="acme",
)


def a_token_record(jti: str, **changes: Any) -> TokenRecord:
    """A record of `trip-planner`'s token for the calendar, with what is named changed."""
    return replace(_RECORD, jti=jti, **changes)
