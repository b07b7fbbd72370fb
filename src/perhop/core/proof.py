"""A proof of possession's way, as types: CheckedProof -> UsedProof.

Spec: RFC 9449 §4
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedProof:
    """A proof that was made for this request, lately and under this key. Whether it came before is not known.

    `key` is the thumbprint of the key, `until` the last second in which the proof is taken, since the epoch. Made by
    `perhop.tokens.proof` only.
    """

    key: str
    jti: str
    until: int

    @property
    def digest(self) -> str:
        """By what a used proof is known: hex SHA-256 of key and `jti`, which is its client's own choice."""
        return hashlib.sha256(f"{self.key}\n{self.jti}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class UsedProof:
    """A checked proof that came for the first time, and will not count again. Made by `perhop.tokens.possession` only.

    `key` is the thumbprint of the key whose possession it proves.
    """

    key: str
