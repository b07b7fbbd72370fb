"""What the authorization server asks of storage about people whom other issuers know."""

from __future__ import annotations

from typing import Protocol


class FederatedSubjects(Protocol):
    """People of other issuers, by the issuer and its name for them."""

    async def find(self, issuer: str, subject: str) -> str | None:
        """Our name for this person, `user:...`; None if they are not known."""
        ...

    async def add(self, issuer: str, subject: str, *, user: str) -> str:
        """Our name for this person from now on: this one, or the one that somebody else has just given."""
        ...
