"""Drafts: what a token will say, before anybody signs it. First tokens of a chain, and children got by exchange."""

from __future__ import annotations

from perhop.authorization_server.issuer import Issuer
from perhop.core.authentication import UNKNOWN, Authentication
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
        jti=issuer.new_id(),
        subject=subject,
        client_id=client_id,
        audience=resource.uri,
        scopes=scopes,
        issued_at=now,
        expires_at=now + access_lifetime(resource.risk),
        txn=issuer.new_id(),
        tenant=resource.tenant,
        task=task.id if task is not None else None,
        authentication=authentication,
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
    """The token that an exchange makes of its parent: same subject, agent, transaction, task, sign-in; one hop further.

    Does not look at who may present, hops, cycles, scopes or what the task covers.

    Spec: RFC 8693 §4.1
    Raises: ChainTooDeep, TokenExpired
    """
    actor = next_actor(parent, presenter)
    check_chain_depth(actor)
    return TokenDraft(
        issuer=issuer.url,
        jti=issuer.new_id(),
        subject=parent.subject,
        client_id=presenter,
        audience=audience,
        scopes=scopes,
        issued_at=now,
        expires_at=child_expiry(now=now, parent_expires_at=parent.expires_at, lifetime=lifetime),
        # A token under a key that was taken over may have no transaction: then one begins here.
        txn=parent.txn or issuer.new_id(),
        hop=parent.hop + 1,
        agent=parent.agent,
        actor=actor,
        tenant=resource.tenant,
        task=parent.task,
        # INVARIANT: what a child says of the person's sign-in is what its parent said; nobody signs in by an exchange.
        authentication=parent.authentication,
        parent_jti=parent.jti,
    )
