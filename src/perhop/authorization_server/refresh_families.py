"""Refresh families: what the refresh tokens of one code stand for, how long they last, and how they are kept.

A family is one resource, one client, one subject. At any time it has one live token; a used one is remembered, since
whoever brings it again ends the family.

Spec: RFC 6749 §1.5
Spec: RFC 9700 §4.14.2
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from perhop.core.authentication import UNKNOWN, Authentication
from perhop.core.secret import Secret
from perhop.errors import RefreshReused

IDLE_LIFETIME = 14 * 24 * 3600
"""Seconds for which a refresh token waits to be used: an application that was not opened for two weeks, as a holiday
is, lets its person sign in again. A copy that nobody uses, in a backup or an old device, is dead after that."""

FAMILY_LIFETIME = 90 * 24 * 3600
"""Seconds after which a family is over, however busy it is: at least once in a quarter the person, and whoever may
have disabled the account elsewhere since, is asked again."""


def hash_refresh_token(token: str) -> str:
    """What is kept of a refresh token: its hex SHA-256. It has 256 random bits, so a plain digest tells nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFamily:
    """What the refresh tokens stand for that come of one code: fixed when it was redeemed, and never widened.

    `terms` is the digest of what the person was shown, `sender` the thumbprint of the key that alone may refresh.
    `authentication` is the sign-in with which it began: a refresh is none.
    """

    id: str
    client_id: str
    subject: str
    resource: str
    scopes: frozenset[str]
    terms: str
    began_at: int
    expires_at: int
    tenant: str | None = None
    task: str | None = None
    sender: str | None = None
    authentication: Authentication = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """One refresh token, kept as its SHA-256 only."""

    token_hash: str
    family: str
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class FirstOfFamily:
    """A family, and the token that it begins with."""

    family: RefreshFamily
    token: RefreshToken


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRefreshToken:
    """A refresh token as it stands: whether it was used, and whether its family was ended."""

    token: RefreshToken
    family: RefreshFamily
    is_spent: bool
    is_ended: bool


class RefreshTokens(Protocol):
    """Refresh tokens as they stand. They are spent by `TokenRecords.add_for_refresh`, ended by `RevocationRows`."""

    async def find(self, token_hash: str) -> StoredRefreshToken | None:
        """The token, spent or not, of a family that may be over; None if it was never issued, or is long gone."""
        ...

    async def family(self, family: str) -> RefreshFamily | None:
        """A family that is known here, ended or not."""
        ...

    async def in_force(self, *, now: int, subject: str | None = None) -> Sequence[RefreshFamily]:
        """Every family that is not over, or those of one person; the newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRefreshToken:
    """The refresh token that goes out with an access token. `spends` is what is kept of the one that it replaces."""

    secret: Secret
    token: RefreshToken
    family: RefreshFamily
    spends: str | None = None


def next_refresh_token(
    family: RefreshFamily, secret: Secret, *, now: int, spends: str | None = None
) -> NextRefreshToken:
    """The token with which this family goes on; it outlives neither the family nor two weeks of silence."""
    token = RefreshToken(
        token_hash=hash_refresh_token(secret.reveal()),
        family=family.id,
        issued_at=now,
        expires_at=min(now + IDLE_LIFETIME, family.expires_at),
    )
    return NextRefreshToken(secret=secret, token=token, family=family, spends=spends)


class EndsFamilies(Protocol):
    async def end_family(self, family: str, *, why: str, by: str) -> object | None:
        """End a family with every token of it; None if it was over already."""
        ...


async def end_reused(family: RefreshFamily, revoker: EndsFamilies) -> RefreshReused:
    """End a family of which a spent token came again, with every token of it; returns the fact to raise.

    Spec: RFC 9700 §4.14.2
    Raises: StorageUnavailable, JournalUnavailable
    """
    ended = await revoker.end_family(family.id, why="a spent refresh token of it came again", by="perhop")
    return RefreshReused(f"the refresh token was used before; its family {'is ended' if ended else 'was over'}")
