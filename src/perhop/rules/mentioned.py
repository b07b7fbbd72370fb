"""What somebody gave as a name: it may be a live token instead, and messages go into logs, records for good.

An id of ours has 22 characters of base64url, a UUID 36; a refresh token and a secret that we make have 43 and more.
"""

from __future__ import annotations

import re

_LONGEST_ID = 40
_SHOWN = 12
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{41,}")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")


def may_be_id(name: str) -> bool:
    """False for what is more likely a secret than the id of a token."""
    return 0 < len(name) <= _LONGEST_ID and name.isascii() and "." not in name


def mentioned(name: str) -> str:
    """The name as it was given, where it may be an id; else only its beginning."""
    return name if may_be_id(name) else f"{name[:_SHOWN]}…"


def may_be_secret(name: str) -> bool:
    """True for what is written as a token or a secret is: no client, person, resource or tenant is named like that."""
    return (_JWT.fullmatch(name) or _OPAQUE.fullmatch(name)) is not None
