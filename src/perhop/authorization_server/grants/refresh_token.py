"""Refresh token: the next access token of what a person allowed, for a token that is good once.

Everything that the first token rested on is looked at again. A token that was used before ends its family: there is
no time of grace, since nobody can tell a client that sent it twice from a thief.

Spec: RFC 6749 §6
Spec: RFC 9700 §4.14.2
Spec: RFC 8707 §2.2
"""

from __future__ import annotations

from perhop.authorization_server.drafts import draft_first
from perhop.authorization_server.form import Form
from perhop.authorization_server.grants.asked import Asked
from perhop.authorization_server.grants.client_credentials import reach, reachable
from perhop.authorization_server.grants.named_task import check_same_task, consented_task
from perhop.authorization_server.interaction.consent import terms_digest, terms_of
from perhop.authorization_server.issue import Authorized
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.people import may_consent
from perhop.authorization_server.refresh_families import (
    RefreshFamily,
    StoredRefreshToken,
    end_reused,
    hash_refresh_token,
    next_refresh_token,
)
from perhop.core.client import Client
from perhop.core.resource import Resource, SenderConstraint
from perhop.core.secret import Secret
from perhop.errors import (
    RefreshExpired,
    RefreshInvalid,
    RefreshOfAnother,
    RefreshOfAnotherKey,
    RefreshOfTaskOver,
    RefreshRevoked,
)
from perhop.rules.resource_indicators import resolve_granted_target
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.scope import narrow, parse_scope


async def find_refresh_token(form: Form, issuer: Issuer) -> StoredRefreshToken:
    """The refresh token that a request presents, as it stands. Checks nothing of it.

    Spec: RFC 6749 §6
    Raises: TokenRequestMalformed, RefreshInvalid, StorageUnavailable
    """
    stored = await issuer.stores.refresh_tokens.find(hash_refresh_token(form.required("refresh_token")))
    if stored is None:
        raise RefreshInvalid("the refresh token is not known")
    return stored


async def authorize(asked: Asked, issuer: Issuer) -> Authorized:
    """Authorize a refresh: client, key -> reuse -> times -> resource -> task -> tenant -> person -> consent -> scopes.

    The token is spent when the next one is recorded, so a request that is refused here may be put right and sent again.

    Spec: RFC 6749 §6
    Raises: RefreshOfAnother, RefreshOfAnotherKey, RefreshReused, RefreshRevoked, RefreshExpired, RefreshInvalid,
        RefreshOfTaskOver, TargetMultiple, TargetInvalid, ScopeInvalid, OwnerMissing, DetailsMalformed, TaskRefused,
        StorageUnavailable, JournalUnavailable
    """
    stored = asked.refresh_token
    assert stored is not None, "the endpoint finds the refresh token of every refresh"
    family = stored.family
    _check_client(family, asked.client)
    _check_key(family, asked.client, asked.key)
    if stored.is_spent:
        raise await end_reused(family, issuer.revoker)
    _check_in_force(stored, now=asked.now)
    target = resolve_granted_target(
        asked.form.all("resource"),
        granted=parse_resource_uri(family.resource),
        audience_values=asked.form.all("audience"),
    )
    resource = reachable(asked.client, target, issuer)
    task = consented_task(
        family.task, client=family.client_id, subject=family.subject, over=RefreshOfTaskOver, issuer=issuer
    )
    _check_tenant(family, resource)
    await _check_consent(family, asked.client, resource, issuer)
    # The client may reach less now than when the person was asked; the family itself is never narrowed.
    scopes = narrow(parse_scope(asked.form.one("scope")), family.scopes & reach(asked.client, resource))
    check_same_task(asked.form.one("authorization_details"), family.task)
    draft = draft_first(
        issuer,
        client_id=asked.client.id,
        subject=family.subject,
        resource=resource,
        scopes=scopes,
        now=asked.now,
        task=task,
        authentication=family.authentication,  # INVARIANT: a refresh renews no sign-in
    )
    following = next_refresh_token(family, Secret(issuer.new_secret()), now=asked.now, spends=stored.token.token_hash)
    return Authorized(draft=draft, resource=resource, refresh=following)


def _check_client(family: RefreshFamily, client: Client) -> None:
    """Whoever asks for another client spends nothing and ends nothing.

    Spec: RFC 6749 §6
    Raises: RefreshOfAnother
    """
    if family.client_id != client.id:
        raise RefreshOfAnother(f"the refresh token was given to client `{family.client_id}`")


def _check_key(family: RefreshFamily, client: Client, key: str | None) -> None:
    """Nor does whoever has the token and not the key: a token that was taken ends nobody's session.

    Spec: RFC 9449 §5
    Spec: RFC 9449 §11.9
    Raises: RefreshOfAnotherKey
    """
    if family.sender not in (None, key):
        raise RefreshOfAnotherKey("the refresh token is bound to another key")
    # Whoever has it could bind what comes of it to a key of their own.
    if family.sender is None and client.is_public and client.sender is SenderConstraint.DPOP:
        raise RefreshOfAnotherKey("the refresh token is from before its client was given bound tokens only")


def _check_in_force(stored: StoredRefreshToken, *, now: int) -> None:
    """Of revocations too: one ends the families that it covers in the transaction in which it is written.

    Raises: RefreshRevoked, RefreshExpired
    """
    if stored.is_ended:
        raise RefreshRevoked("the refresh token's family was ended")
    if now >= stored.family.expires_at:
        raise RefreshExpired("the refresh token's family is over")
    if now >= stored.token.expires_at:
        raise RefreshExpired("the refresh token was not used for too long")


def _check_tenant(family: RefreshFamily, resource: Resource) -> None:
    """A tenant's revocation ends its families, so a family stays with the tenant that it began with."""
    if resource.tenant != family.tenant:
        raise RefreshInvalid("the resource is another tenant's than when the person was asked")


async def _check_consent(family: RefreshFamily, client: Client, resource: Resource, issuer: Issuer) -> None:
    """Refuse unless the person is there still, and what was allowed is what would be asked now.

    Under a task the task is what the person approved, and no consent is stored.

    Raises: RefreshInvalid, StorageUnavailable
    """
    if not await may_consent(family.subject, issuer):
        raise RefreshInvalid(f"`{family.subject}` has no account that may sign in")
    # Terms do not hold the redirect URI of one request, but all of the client's.
    if terms_digest(terms_of(client, resource, family.scopes, "", issuer.registry)) != family.terms:
        raise RefreshInvalid("what the person was shown has changed since: the consent has lapsed")
    if family.task is not None:
        return
    consent = await issuer.stores.consents.get(family.subject, family.client_id, family.resource)
    if consent is None or not family.scopes <= consent.scopes:
        raise RefreshInvalid("the person's consent was withdrawn, or covers less by now")
