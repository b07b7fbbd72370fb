"""Nonces for proofs of possession: each says when it was given and by which server, and nothing is kept of it.

A nonce goes stale after two minutes, three at most, so that no proof is made long before it is sent. Whoever takes
nonces of a key must remember the proofs that came with them, all under one roof: then a proof counts once.

Spec: RFC 9449 §8
Spec: RFC 9449 §11.2
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perhop.errors import ProofNonceNeeded

NONCE_SECONDS = 60
"""A new nonce is given so often."""
_TAKEN = (0, -1, -2, 1)
"""The nonces that are taken, the current one first: two before it, and the next of a server whose clock is ahead."""
_PURPOSE = b"perhop dpop nonce 1"


@dataclass(frozen=True, slots=True)
class Nonces:
    """The nonces of one server. `server` is the URL by which proofs name it: no other server's nonces are taken.

    `key` has 32 bytes, and is shared by all replicas of the server that remember proofs together.
    """

    key: bytes = field(repr=False)
    server: str

    def current(self, now: int) -> str:
        """The nonce to give now. Spec: RFC 9449 §8."""
        return self._at(now // NONCE_SECONDS)

    def check(self, claims: Mapping[str, Any], now: int) -> None:
        """Refuse a proof without a nonce of ours that is still good.

        Spec: RFC 9449 §4.3
        Raises: ProofNonceNeeded
        """
        said = claims.get("nonce")
        slot = now // NONCE_SECONDS
        known = isinstance(said, str) and any(
            hmac.compare_digest(said.encode("utf-8", "replace"), self._at(slot + step).encode()) for step in _TAKEN
        )
        if not known:
            raise ProofNonceNeeded("no nonce" if said is None else "the nonce is too old, or not of this server")

    def _at(self, slot: int) -> str:
        text = b"\n".join((_PURPOSE, self.server.encode(), str(slot).encode()))
        mac = hmac.new(self.key, text, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac[:18]).decode("ascii")
