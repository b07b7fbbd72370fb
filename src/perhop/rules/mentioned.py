"""What somebody gave as the name of a token: it may be a live token, and messages go into logs, records for good.

An id of ours has 22 characters of base64url, a UUID 36.
"""

from __future__ import annotations

_LONGEST_ID = 40
_SHOWN = 12


def may_be_id(name: str) -> bool:
    """False for what is more likely a secret than the id of a token."""
    return 0 < len(name) <= _LONGEST_ID and name.isascii() and "." not in name


def mentioned(name: str) -> str:
    """The name as it was given, where it may be an id; else only its beginning."""
    return name if may_be_id(name) else f"{name[:_SHOWN]}…"
