"""Drafts: what a token will say, before anybody signs it. First tokens of a chain, and children got by exchange."""

from __future__ import annotations

from dataclasses import dataclass

from perhop.authorization_server.issuer import Issuer
from perhop.core.actor import Actor
from perhop.core.authentication import UNKNOWN, Authentication
from perhop.core.call import CallBinding
from perhop.core.resource import Resource, ResourceUri
from perhop.core.task import Task
from perhop.core.token import TokenDraft, VerifiedToken
from perhop.rules.delegation import check_chain_depth, next_actor
from perhop.rules.lifetime import access_lifetime, child_expiry


def draft_first(
    issuer: Issuer,
    *,
    client_id: str,
    subject: str,
    resource: Resource,
    scopes: frozenset[str],
    now: int,
    task: Task | None = None,
    authentication: Authentication = UNKNOWN,
) -> TokenDraft:
    """The first token of a chain, for the `uri` of a resource; a transaction begins with it.

    Does not look whether the task is in force, or names the resource.
    """
    return TokenDraft(
        issuer=issuer.url,
        jti=issuer.new_token_id(),
        subject=subject,
        client_id=client_id,
        audience=resource.uri,
        scopes=scopes,
        issued_at=now,
        expires_at=now + access_lifetime(resource.risk),
        txn=issuer.new_token_id(),
        tenant=resource.tenant,
        task=task.id if task is not None else None,
        authentication=authentication,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """All that the tokens got by one exchange of one parent say, but for ids and times.

    Follows from the parent's claims, who presents it, and for what.
    """

    parent: VerifiedToken
    actor: Actor
    presenter: str
    audience: ResourceUri
    scopes: frozenset[str]
    tenant: str | None

    def draft(self, issuer: Issuer, *, lifetime: int, now: int, call: CallBinding | None = None) -> TokenDraft:
        """The next of these tokens: same subject, agent, transaction, task, sign-in; one hop further.

        Raises: TokenExpired
        """
        parent = self.parent
        return TokenDraft(
            issuer=issuer.url,
            jti=issuer.new_token_id(),
            subject=parent.subject,
            client_id=self.presenter,
            audience=self.audience,
            scopes=self.scopes,
            issued_at=now,
            expires_at=child_expiry(now=now, parent_expires_at=parent.expires_at, lifetime=lifetime),
            # A token under a key that was taken over may have no transaction: then one begins here.
            txn=parent.txn or issuer.new_token_id(),
            hop=parent.hop + 1,
            agent=parent.agent,
            actor=self.actor,
            tenant=self.tenant,
            task=parent.task,
            call=call,
            # INVARIANT: what a child says of the person's sign-in is what its parent said; nobody signs in by an
            # exchange.
            authentication=parent.authentication,
            parent_jti=parent.jti,
        )


def child_of(
    parent: VerifiedToken, *, presenter: str, audience: ResourceUri, resource: Resource, scopes: frozenset[str]
) -> Child:
    """What an exchange makes of its parent.

    Does not look at who may present, hops, cycles, scopes or what the task covers.

    Spec: RFC 8693 §4.1
    Raises: ChainTooDeep
    """
    actor = next_actor(parent, presenter)
    check_chain_depth(actor)
    return Child(
        parent=parent, actor=actor, presenter=presenter, audience=audience, scopes=scopes, tenant=resource.tenant
    )


def draft_child(
    issuer: Issuer,
    parent: VerifiedToken,
    *,
    presenter: str,
    audience: ResourceUri,
    resource: Resource,
    scopes: frozenset[str],
    lifetime: int,
    now: int,
) -> TokenDraft:
    """The token that an exchange makes of its parent: see `child_of`.

    Spec: RFC 8693 §4.1
    Raises: ChainTooDeep, TokenExpired
    """
    child = child_of(parent, presenter=presenter, audience=audience, resource=resource, scopes=scopes)
    return child.draft(issuer, lifetime=lifetime, now=now)
