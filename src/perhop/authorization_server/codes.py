"""Authorization codes: how long one lives, and how it is kept.

Spec: RFC 6749 §4.1.2
"""

from __future__ import annotations

import hashlib

CODE_LIFETIME = 60
"""Seconds."""


def hash_code(code: str) -> str:
    """What is kept of a code: its hex SHA-256."""
    return hashlib.sha256(code.encode()).hexdigest()
