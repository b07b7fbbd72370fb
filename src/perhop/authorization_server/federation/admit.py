"""From what a provider says to an account of ours: who is let in, and who they are here.

A person is the pair of issuer and subject, and nothing else: addresses are handed on from one person to the next.

Spec: OpenID Connect Core 1.0 §5.7
"""

from __future__ import annotations

from perhop.authorization_server.federation.round_trip import SignedIn
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.people import is_let_in
from perhop.authorization_server.people_store import FederatedAccount
from perhop.errors import PersonNotAdmitted
from perhop.journal.record import Event, Record
from perhop.rules.person_claims import groups_in, verified_email


async def admit(person: SignedIn, issuer: Issuer) -> FederatedAccount:
    """The account of this person, made at the first sign-in; what the provider says of them now is kept with it.

    Raises: PersonNotAdmitted, StorageUnavailable, JournalUnavailable
    """
    provider, accounts = person.provider, issuer.stores.federated_accounts
    email = verified_email(person.claims)
    if not is_let_in(provider, email):
        raise PersonNotAdmitted(f"`{provider.name}` names no verified address of its `email_domains`")
    known = await accounts.find(provider.issuer, person.token.subject)
    if known is not None and known.disabled:
        raise PersonNotAdmitted(f"account of `{known.subject}` is disabled")
    subject = known.subject if known is not None else f"user:{issuer.new_id()}"
    if known is None:
        # Recorded first: what gives power is never done without a record.
        about = {"account": subject, "change": "added", "by": f"provider:{provider.name}"}
        await issuer.journal.append(Record(event=Event.ACCOUNT_CHANGED, about=about))
    account = FederatedAccount(
        issuer=provider.issuer,
        subject_there=person.token.subject,
        subject=subject,
        email=email,
        groups=groups_in(person.claims, provider.groups_claim),
        seen_at=issuer.now(),
    )
    kept = await accounts.keep(account)
    if kept.disabled:
        raise PersonNotAdmitted(f"account of `{kept.subject}` is disabled")
    issuer.groups.take(kept)
    return kept
