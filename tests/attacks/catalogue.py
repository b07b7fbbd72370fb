"""The table of attacks."""

from __future__ import annotations

from collections.abc import Sequence

from tests.attacks.row import Row
from tests.attacks.rows import (
    audiences,
    authorizations,
    calls,
    claims,
    credentials,
    definitions,
    exchanges,
    issuers,
    journals,
    messages,
    sessions,
    signatures,
    standing,
    token_endpoint,
    upstreams,
    wire,
)

_ROOMS = (
    signatures,
    claims,
    audiences,
    credentials,
    messages,
    wire,
    calls,
    upstreams,
    sessions,
    token_endpoint,
    exchanges,
    authorizations,
    issuers,
    standing,
    definitions,
    journals,
)

ROWS: Sequence[Row] = tuple(row for room in _ROOMS for row in room.ROWS)
