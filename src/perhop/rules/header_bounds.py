"""How much a request may say in its header section: one bound for our own listener, and for a guard behind any server.

Spec: RFC 6585 §5
"""

from __future__ import annotations

from collections.abc import Sequence

from perhop.errors import HeadersTooLarge

MAX_HEADER_BYTES = 16 * 1024
"""Names, values and their four separators."""
MOST_FIELDS = 200
"""Of a request that came by somebody else's listener."""


def check_header_bounds(fields: Sequence[tuple[bytes, bytes]] | Sequence[tuple[str, str]]) -> None:
    """Refuse a header section that is too large; in text, a character is a byte.

    Raises: HeadersTooLarge
    """
    if len(fields) > MOST_FIELDS:
        raise HeadersTooLarge(f"{len(fields)} header fields")
    length = sum([len(name) + len(value) + 4 for name, value in fields])
    if length > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"{length} bytes of header fields")
