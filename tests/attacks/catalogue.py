"""The table of attacks."""

from __future__ import annotations

from collections.abc import Sequence

from tests.attacks.row import Row
from tests.attacks.rows import audiences, calls, claims, credentials, messages, signatures, upstreams, wire

_ROOMS = (signatures, claims, audiences, credentials, messages, wire, calls, upstreams)

ROWS: Sequence[Row] = tuple(row for room in _ROOMS for row in room.ROWS)
