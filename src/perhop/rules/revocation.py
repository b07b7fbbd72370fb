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


_MOST_PASSED = 16_384


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
    """The revocations in force, in memory. Grows by `add`; `forget` drops what can concern no token any more.

    `added` is how many were taken in: while it stays, who passed passes again. Read it before the check it stands for.
    """

    def __init__(self) -> None:
        self._not_before: dict[RevocationKind, dict[str, tuple[int, int]]] = {kind: {} for kind in RevocationKind}
        self._passed: dict[int, tuple[VerifiedToken, int]] = {}
        self.added = 0
        self.seq = 0

    def add(self, revocation: Revocation) -> None:
        """Take one in; of two for the same value the later `not_before` wins."""
        of_kind = self._not_before[revocation.kind]
        not_before, expires_at = of_kind.get(revocation.digest, (0, 0))
        of_kind[revocation.digest] = max(not_before, revocation.not_before), max(expires_at, revocation.expires_at)
        self.seq = max(self.seq, revocation.seq)
        # INVARIANT: counted after it is in force, and a check reads the count before it looks: what passed before this
        # is looked at again, whichever thread it is on.
        self.added += 1

    def forget(self, *, now: int) -> None:
        """Drop revocations whose every token has expired by now."""
        for kind, of_kind in self._not_before.items():
            self._not_before[kind] = {digest: value for digest, value in of_kind.items() if value[1] > now}

    def copy(self) -> Revocations:
        """Those in force at this moment, for looking at later."""
        same = Revocations()
        same._not_before = {kind: dict(of_kind) for kind, of_kind in self._not_before.items()}
        same.added, same.seq = self.added, self.seq
        return same

    def covers(self, kind: RevocationKind, value: str, *, issued_at: int) -> bool:
        """True if what was issued at this time under this name is revoked."""
        of_kind = self._not_before[kind]
        entry = of_kind.get(revocation_digest(value)) if of_kind else None
        return entry is not None and issued_at <= entry[0]

    def check(self, token: VerifiedToken) -> None:
        """Refuse a token that a revocation names. Does not look at its expiry.

        A token that passed passes again until something is revoked: it is told by the object, not by what it says.

        Raises: TokenRevoked
        """
        passed = self._passed.get(id(token))
        if passed is not None and passed[0] is token and passed[1] == self.added:
            return
        added = self.added
        for kind, value in _names(token):
            if self.covers(kind, value, issued_at=token.issued_at):
                raise TokenRevoked(f"revoked by {kind.value}")
        if len(self._passed) >= _MOST_PASSED:
            self._passed = {}
        self._passed[id(token)] = token, added
