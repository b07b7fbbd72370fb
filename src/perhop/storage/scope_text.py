"""Scopes as one column: the space-separated form of RFC 6749 §3.3, sorted."""

from __future__ import annotations


def join_scopes(scopes: frozenset[str]) -> str:
    """One text for a set of scopes; equal sets give equal texts."""
    return " ".join(sorted(scopes))


def split_scopes(text: str) -> frozenset[str]:
    """The set that `join_scopes` wrote."""
    return frozenset(text.split())
