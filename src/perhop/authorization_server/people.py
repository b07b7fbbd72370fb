"""People: which accounts sign in under the configuration of the moment, and which of their addresses counts.

An account stands in the database, and which ways there are to sign in stands in the file: a way that is closed, or a
provider that is taken out, closes on everybody who came by it, at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perhop.authorization_server.store import SignIn
from perhop.core.provider import Admits, Provider, SignInWays

if TYPE_CHECKING:  # who only asks whose address counts loads no pages
    from perhop.authorization_server.issuer import Issuer


def is_local_way_open(email: str, ways: SignInWays) -> bool:
    """True if a local account of this address may sign in.

    INVARIANT: where a provider's word counts for a domain, nobody else's does: one address is never two people.
    """
    return ways.local_accounts and ways.provider_for(email) is None


def is_let_in(provider: Provider, email: str | None) -> bool:
    """True if we let in whom this provider signs in, with this verified address or none."""
    return provider.admits is Admits.ANYONE or counted_email(provider, email) != ""


def counted_email(provider: Provider, email: str | None) -> str:
    """The address, if this provider's word for it counts; else no address at all."""
    return email if email is not None and email.rpartition("@")[2] in provider.email_domains else ""


def as_admitted(stored: SignIn, ways: SignInWays) -> SignIn | None:
    """The session as it counts now, with the address that counts; None if its way in is closed."""
    if stored.issuer is None:
        return stored if is_local_way_open(stored.email, ways) else None
    provider = ways.provider_with(stored.issuer)
    if provider is None or not is_let_in(provider, stored.email):
        return None
    shown = stored.email or f"somebody signed in with {provider.label}"
    return replace(stored, email=counted_email(provider, stored.email), known_as=shown)


async def may_consent(subject: str, issuer: Issuer) -> bool:
    """True if this person could sign in to consent now.

    Raises: StorageUnavailable
    """
    ways = issuer.registry.sign_in
    account = await issuer.stores.accounts.of_subject(subject)
    if account is not None:
        return not account.disabled and not account.console_only and is_local_way_open(account.email, ways)
    known = await issuer.stores.federated_accounts.of_subject(subject)
    provider = ways.provider_with(known.issuer) if known is not None else None
    return known is not None and provider is not None and not known.disabled and is_let_in(provider, known.email)
