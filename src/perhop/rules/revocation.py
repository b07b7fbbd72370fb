"""Revocation: which tokens are refused although they have not expired.

A revocation names a kind and the SHA-256 of a value; a token whose `iat` is at or before `not_before` is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from perhop.core.token import VerifiedToken
from perhop.errors import TokenRevoked

BOUND_SECONDS = 2
"""What we promise: so long after it was asked for, a revocation is in force at the token endpoint, at the gateway, for
open streams, and at every guard whose feed is up."""


class RevocationKind(StrEnum):
    """What a revocation names."""

    TOKEN = "jti"
    FAMILY = "family"
    SUBJECT = "sub"
    AGENT = "agent"
    RESOURCE = "aud"
    TENANT = "tenant"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revocation in force; times are seconds since the epoch."""

    seq: int
    kind: RevocationKind
    digest: str
    not_before: int
    expires_at: int


def revocation_digest(value: str) -> str:
    """Hex SHA-256 of the value that is revoked: the feed says who is revoked only to those who know the name."""
    return hashlib.sha256(value.encode()).hexdigest()


def _names(token: VerifiedToken) -> Iterator[tuple[RevocationKind, str]]:
    yield RevocationKind.TOKEN, token.jti
    yield RevocationKind.SUBJECT, token.subject
    yield RevocationKind.AGENT, token.agent
    yield RevocationKind.RESOURCE, token.audience
    if token.client_id != token.agent:
        yield RevocationKind.AGENT, token.client_id
    if token.tenant is not None:
        yield RevocationKind.TENANT, token.tenant
    if token.task is not None:
        yield RevocationKind.TASK, token.task


class Revocations:
    """The revocations in force, in memory. Grows by `add`; `forget` drops what can concern no token any more."""

    def __init__(self) -> None:
        self._not_before: dict[tuple[RevocationKind, str], tuple[int, int]] = {}
        self._kinds: set[RevocationKind] = set()
        self.seq = 0

    def add(self, revocation: Revocation) -> None:
        """Take one in; of two for the same value the later `not_before` wins."""
        key = (revocation.kind, revocation.digest)
        not_before, expires_at = self._not_before.get(key, (0, 0))
        self._not_before[key] = max(not_before, revocation.not_before), max(expires_at, revocation.expires_at)
        self._kinds.add(revocation.kind)
        self.seq = max(self.seq, revocation.seq)

    def forget(self, *, now: int) -> None:
        """Drop revocations whose every token has expired by now."""
        self._not_before = {key: value for key, value in self._not_before.items() if value[1] > now}

    def covers(self, kind: RevocationKind, value: str, *, issued_at: int) -> bool:
        """True if what was issued at this time under this name is revoked."""
        entry = self._not_before.get((kind, revocation_digest(value)))
        return entry is not None and issued_at <= entry[0]

    def check(self, token: VerifiedToken) -> None:
        """Refuse a token that a revocation names. Does not look at its expiry.

        Raises: TokenRevoked
        """
        for kind, value in _names(token):
            if kind in self._kinds and self.covers(kind, value, issued_at=token.issued_at):
                raise TokenRevoked(f"revoked by {kind.value}")
