"""Token records for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perhop.authorization_server.grants.client_credentials import authorize_client
from perhop.authorization_server.issue import issue
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.store import TokenRecord
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind

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


async def own_token(issuer: Issuer, client: str, resource: str, **changes: Any) -> str:
    """As a client gets one for itself by its secret; of its draft, what is named is changed."""
    target = issuer.registry.resources[resource].uri
    authorized = authorize_client(
        issuer.registry.clients[client], target, frozenset(), issuer, now=issuer.now(), details=None
    )
    draft = replace(authorized.draft, **changes)
    minted = await issue(replace(authorized, draft=draft, is_alone=True), issuer)
    return THE_SCAN.note(minted.raw.reveal(), Kind.TOKEN)
