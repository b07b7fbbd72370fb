"""How a message names what somebody gave as the name of a token: it may be a live token, and messages go into logs."""

from __future__ import annotations

_LONGEST_ID = 40
"""Characters. An id of ours has 22, a UUID 36."""

_SHOWN = 12


def mentioned(name: str) -> str:
    """The name as it was given; only its beginning where it has the parts of a token, or is too long for an id."""
    return f"{name[:_SHOWN]}…" if name.count(".") == 2 or len(name) > _LONGEST_ID else name
