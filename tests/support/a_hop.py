"""One token that came in, and the draft of the one that goes out instead."""

from __future__ import annotations

from perhop.core.resource import ResourceUri
from perhop.core.token import TokenDraft, VerifiedToken

TOKEN = VerifiedToken(
    issuer="https://issuer.example.com",
    jti="in-1",
    subject="user:anna",
    client_id="trip-planner",
    audience="https://calendar.example.com/mcp",
    scopes=frozenset({"calendar:read"}),
    issued_at=1_790_000_000,
    expires_at=1_790_000_300,
    agent="trip-planner",
    fingerprint="f" * 64,
)
DRAFT = TokenDraft(
    issuer="https://issuer.example.com",
    jti="out-1",
    subject="user:anna",
    client_id="gateway:perhop",
    audience=ResourceUri("https://calendar.example.com/mcp"),
    scopes=frozenset({"calendar:read"}),
    issued_at=1_790_000_000,
    expires_at=1_790_000_060,
    txn="txn-1",
)
