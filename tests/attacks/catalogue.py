"""The table of attacks: what is tried, where it comes from, and what must be seen.

Rows stand by subject in the modules beside this one; here they are put together, with those that wait for a part that
is not built yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

from tests.attacks.row import Row
from tests.attacks.rows import (
    agent_tasks,
    approvals,
    audiences,
    authorizations,
    call_tokens,
    calls,
    claims,
    codes,
    credentials,
    definitions,
    exchanges,
    federation,
    introspection,
    issuers,
    journals,
    messages,
    refresh,
    sessions,
    signatures,
    standing,
    tasks,
    token_endpoint,
    tools,
    upstreams,
    wire,
)

_ROOMS: tuple[ModuleType, ...] = (
    signatures,
    claims,
    audiences,
    credentials,
    messages,
    wire,
    calls,
    call_tokens,
    upstreams,
    tools,
    sessions,
    tasks,
    agent_tasks,
    approvals,
    token_endpoint,
    exchanges,
    authorizations,
    federation,
    codes,
    refresh,
    introspection,
    issuers,
    standing,
    definitions,
    journals,
)

ROWS: Sequence[Row] = tuple(row for room in _ROOMS for row in room.ROWS)

NOT_APPLICABLE: Mapping[str, str] = {
    # clients that nobody wrote into the configuration
    "registration-flood": "dynamic client registration",
    "registration-with-a-hostile-name": "dynamic client registration",
    "client-document-at-an-inner-address": "client metadata documents",
    "client-document-at-a-mapped-address": "client metadata documents",
    "client-document-by-rebound-name": "client metadata documents",
    "client-document-that-redirects-or-floods": "client metadata documents",
    "client-document-of-another-client": "client metadata documents",
    "client-document-with-a-shared-secret": "client metadata documents",
    "client-document-changed-after-consent": "client metadata documents",
    "client-document-of-a-known-client-on-loopback": "client metadata documents",
    # sender constraint
    "proof-replayed": "DPoP",
    "proof-for-another-request": "DPoP",
    "proof-under-another-key": "DPoP",
    "proof-with-a-weak-signature": "DPoP",
    "proof-too-old-or-made-ahead": "DPoP",
    "code-or-refresh-of-another-key": "DPoP",
    # other grants and ways in
    "identity-assertion-for-another-server": "identity assertion grant",
    "identity-assertion-replayed": "identity assertion grant",
    "shared-upstream-client-and-old-consent": "broker",
    # state and approvals
    "tampered-request-state": "state of our own in `requestState`; an upstream's is its own to protect",
    # what is decided and looked at by people
    "owner-approves-own-access": "governance",
    "overdue-review-still-issues": "governance",
    "token-replayed-in-bulk": "incident and blast radius",
    # operation
    "unsigned-policies": "policy bundles",
    "backup-that-forgets-revocations": "epochs on restore",
    "killed-between-decision-and-answer": "drills",
    "thousands-of-idle-streams": "drills",
    "revocation-at-another-node": "several nodes",
    "resource-metadata-of-a-stranger": "discovery of resources by our client",
    "server-that-sends-a-code-elsewhere": "authorization code flow of our client",
    "path-parameter-into-a-backend": "tools over REST",
}
"""Attacks on parts that are not there: slug -> the part that they wait for."""
