"""Assertions that are good once: the one place where they are spent."""

from __future__ import annotations

from perhop.authorization_server.issuer import Issuer
from perhop.core.assertion import VerifiedAssertion
from perhop.errors import AssertionSpent
from perhop.rules.lifetime import MAX_SKEW


async def spend_assertion(assertion: VerifiedAssertion, issuer: Issuer) -> None:
    """Spend an assertion, if its issuer's are good once: the last step before a token, so of many at once one wins.

    Spec: RFC 7523 §3
    Raises: AssertionSpent, StorageUnavailable
    """
    trusted = assertion.issuer
    if not trusted.single_use:
        return
    assert assertion.jti is not None, "what is good once has an id"
    longest = trusted.max_lifetime + MAX_SKEW
    if not issuer.epoch.knows_uses_of(issued_at=assertion.issued_at, expires_at=assertion.expires_at, longest=longest):
        raise AssertionSpent(f"an assertion of issuer `{trusted.name}` may be older than the epoch, and used before")
    if not await issuer.stores.assertions.spend_grant(trusted.issuer, assertion.jti, expires_at=assertion.expires_at):
        raise AssertionSpent(f"an assertion of issuer `{trusted.name}` was used before")
