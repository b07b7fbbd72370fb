"""What the authorization server asks of storage about people: those whom providers sign in, and what they consented to.

Each verb is atomic and durable when it returns. Times are seconds since the epoch. Every verb raises StorageUnavailable
when the database does not answer. Local accounts and sign-ins are in `store`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedAccount:
    """A person whom another issuer knows: `subject` here, `subject_there` at `issuer`, which signs them in or asserts.

    INVARIANT: one account for an issuer's subject, so a person has one name here, whoever brings them.

    `email` is an address that the provider called verified; whether that counts is another question. `groups` are None
    where they are not known. Both are as the provider said at `seen_at`, when the person last signed in; 0 of one who
    never did.
    """

    issuer: str
    subject_there: str
    subject: str
    email: str | None
    groups: frozenset[str] | None
    seen_at: int
    disabled: bool = False


class FederatedAccounts(Protocol):
    async def find(self, issuer: str, subject_there: str) -> FederatedAccount | None: ...

    async def add(self, account: FederatedAccount) -> FederatedAccount:
        """Add the account, unless there is one of this issuer and subject; returns what stands."""
        ...

    async def keep(self, account: FederatedAccount) -> FederatedAccount:
        """Add the account, or keep what is new of it if there is one of this issuer and subject; returns what stands.

        Of one that was there, `subject` and `disabled` stay as they were.
        """
        ...

    async def of_subject(self, subject: str) -> FederatedAccount | None: ...

    async def list(self) -> Sequence[FederatedAccount]: ...

    async def disable(self, subject: str) -> bool:
        """Disable the account and end its sign-ins; False if there is none."""
        ...

    async def enable(self, subject: str) -> bool:
        """Lift the disabling; False if the account was not disabled, or there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A person's stored consent (core calls it a grant). `terms` is the digest of what the person was shown.

    `used_at` is when the client last got a token by it; None if it never did.
    """

    subject: str
    client_id: str
    resource: str
    scopes: frozenset[str]
    terms: str
    granted_at: int
    used_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """What stood before a consent was taken back: if there was one, and the refresh families in force for the same."""

    had_consent: bool
    families: tuple[str, ...]


class Consents(Protocol):
    async def put(self, consent: Consent) -> None: ...

    async def get(self, subject: str, client_id: str, resource: str) -> Consent | None: ...

    async def all(self, subject: str | None = None) -> Sequence[Consent]:
        """Every consent, or those of one person; the newest first."""
        ...

    async def take_back(self, subject: str, client_id: str, resource: str, *, now: int) -> TakenBack:
        """Remove the consent and every code of the same; the families are the caller's to end.

        INVARIANT: after it no code that rests on the consent becomes a token, also not one that is being redeemed.
        """
        ...
