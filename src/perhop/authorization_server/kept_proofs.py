"""Secrets that clients proved themselves with, kept as digests, so that the next request costs one look.

Only what was believed is kept: by the SHA-256 of the whole `Authorization` value, and good for the very client of the
configuration of which it was believed. Whoever finds one had to know the value.

Spec: RFC 6749 §2.3.1
"""

from __future__ import annotations

import hashlib

from perhop.core.client import Client

MOST_KEPT = 4096


class KeptProofs:
    """Of one configuration: another one begins with none."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Client] = {}

    def find(self, authorization: str) -> Client | None:
        """The client that this value proved; whoever takes it looks whether the client is the same still."""
        return self._kept.get(_digest(authorization))

    def keep(self, authorization: str, client: Client) -> None:
        """Remember that this value proved this client."""
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[_digest(authorization)] = client


def _digest(authorization: str) -> bytes:
    return hashlib.sha256(authorization.encode("utf-8", "surrogatepass")).digest()
