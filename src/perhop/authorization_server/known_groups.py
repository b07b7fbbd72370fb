"""The groups of people, as their providers said when they last signed in: held in memory, since every call asks.

Held for as long as the provider's settings say. What is older, or of a provider that is no longer there, is not known:
that is not the same as no groups, and a policy can tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable

from perhop.authorization_server.people_store import FederatedAccount, FederatedAccounts
from perhop.core.provider import SignInWays


class KnownGroups:
    """Groups by subject. Holds what the database holds, since every sign-in goes through it."""

    def __init__(self, ways: Callable[[], SignInWays]) -> None:
        self._ways = ways
        self._accounts: dict[str, FederatedAccount] = {}

    async def load(self, accounts: FederatedAccounts) -> None:
        """Read what the database holds; before the first question.

        Raises: StorageUnavailable
        """
        for account in await accounts.list():
            self.take(account)

    def take(self, account: FederatedAccount) -> None:
        """Go by what was just said of this person."""
        if account.groups is None:
            self._accounts.pop(account.subject, None)
        else:
            self._accounts[account.subject] = account

    def of(self, subject: str | None, *, now: int) -> frozenset[str] | None:
        """The person's groups; None where they are not known, or not any more."""
        account = self._accounts.get(subject) if subject is not None else None
        provider = self._ways().provider_with(account.issuer) if account is not None else None
        if account is None or provider is None or provider.groups_claim is None:
            return None
        return account.groups if now - account.seen_at < provider.groups_hold else None
