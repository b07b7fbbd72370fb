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
    assertions,
    audiences,
    authorizations,
    call_tokens,
    calls,
    claims,
    codes,
    credentials,
    definitions,
    discoveries,
    exchanges,
    federation,
    introspection,
    issuers,
    journals,
    limits,
    messages,
    newcomers,
    proofs,
    refresh,
    sessions,
    sign_ins,
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
    sign_ins,
    tasks,
    agent_tasks,
    approvals,
    token_endpoint,
    assertions,
    exchanges,
    authorizations,
    federation,
    codes,
    refresh,
    proofs,
    introspection,
    newcomers,
    issuers,
    standing,
    definitions,
    limits,
    journals,
    discoveries,
)

ROWS: Sequence[Row] = tuple(row for room in _ROOMS for row in room.ROWS)

NOT_APPLICABLE: Mapping[str, str] = {
    # other grants and ways in
    "shared-upstream-client-and-old-consent": "broker",
    # state and approvals
    "tampered-request-state": "state of our own in `requestState`; an upstream's is its own to protect",
    # what is decided and looked at by people
    "owner-approves-own-access": "governance",
    "overdue-review-still-issues": "governance",
    "token-replayed-in-bulk": "incident and blast radius",
    # operation
    "unsigned-policies": "policy bundles",
    "killed-between-decision-and-answer": "drills",
    "thousands-of-idle-streams": "drills",
    "revocation-at-another-node": "several nodes",
    "path-parameter-into-a-backend": "tools over REST",
}
"""Attacks on parts that are not there: slug -> the part that they wait for."""
