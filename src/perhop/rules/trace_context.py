"""Trace context: the `traceparent` that the gateway writes to an upstream, and the upstream's look at it.

All hops of one transaction share a trace; the parent is the call's record. As in W3C Trace Context §3.2. It correlates,
and nothing is ever decided by it: whoever reaches a server may send any.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

TRACEPARENT = "traceparent"

_WRITTEN = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}")


def render_traceparent(transaction: str, call_id: str) -> str:
    """The header for a call of a transaction; `call_id` is 16 hex digits."""
    return f"00-{_trace_id(transaction)}-{call_id}-01"


def call_id_in(traceparent: str, transaction: str) -> str | None:
    """The call that a gateway's header names; None if it is not of the transaction of the token that came with it."""
    match = _WRITTEN.fullmatch(traceparent)
    return match["parent"] if match is not None and match["trace"] == _trace_id(transaction) else None


@lru_cache(maxsize=2048)  # the calls of a token are of one transaction
def _trace_id(transaction: str) -> str:
    return hashlib.sha256(transaction.encode()).hexdigest()[:32]
