"""Client credentials: an agent on its own account.

Spec: RFC 6749 §4.4
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from perhop.authorization_server.drafts import draft_first
from perhop.authorization_server.grants.asked import Asked
from perhop.authorization_server.grants.named_task import check_task_subject, find_named_task
from perhop.authorization_server.issue import Authorized
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.kept_grants import KeptGrant
from perhop.authorization_server.records_resource import records_resource, records_uri
from perhop.core.client import Client, ClientSecret, GrantType, HashedSecret, NoAuthentication
from perhop.core.resource import Resource, ResourceUri
from perhop.core.token import TokenDraft
from perhop.errors import GrantTypeNotAllowed, TargetInvalid
from perhop.rules.resource_indicators import resolve_target
from perhop.rules.scope import narrow, parse_scope


async def authorize(asked: Asked, issuer: Issuer) -> Authorized:
    """Authorize a client for itself: a resource that it reaches, at most the scopes that it reaches there.

    Spec: RFC 6749 §4.4.2
    Raises: TargetMissing, TargetMultiple, TargetInvalid, ScopeInvalid, GrantTypeNotAllowed, OwnerMissing,
        DetailsMalformed, TaskRefused, TargetOutsideTask
    """
    kept = issuer.kept_grants.find(asked.form, asked.client)
    if kept is not None:
        return _authorize_again(kept, asked, issuer)
    target = resolve_target(
        asked.form.all("resource"),
        audience_values=asked.form.all("audience"),
        default=default_target(asked.client, issuer),
    )
    details, scopes = asked.form.one("authorization_details"), parse_scope(asked.form.one("scope"))
    authorized = authorize_client(asked.client, target, scopes, issuer, now=asked.now, details=details)
    if details is None and authorized.resource is issuer.registry.resource_at(target):
        issuer.kept_grants.keep(asked.form, asked.client, authorized.resource, authorized.draft.scopes)
    return replace(authorized, is_alone=_is_alone(asked, authorized.draft))


def _authorize_again(kept: KeptGrant, asked: Asked, issuer: Issuer) -> Authorized:
    """What the same client got by the same form: only what stands in the database may have changed since.

    Raises: TargetInvalid, OwnerMissing
    """
    client, resource = asked.client, kept.resource
    issuer.standing.check_target(resource, issuer.registry)
    draft = draft_first(
        issuer, client_id=client.id, subject=client.id, resource=resource, scopes=kept.scopes, now=asked.now
    )
    return Authorized(draft=draft, resource=resource, is_alone=_is_alone(asked, draft))


def _is_alone(asked: Asked, draft: TokenDraft) -> bool:
    """False where the request has spent an assertion or a proof, or the token ends with its task."""
    has_secret = isinstance(asked.client.authentication, ClientSecret | HashedSecret)
    return has_secret and asked.proof is None and draft.task is None


def authorize_client(
    client: Client, target: ResourceUri, scopes: frozenset[str], issuer: Issuer, *, now: int, details: str | None
) -> Authorized:
    """What a client may have for itself, whoever asks on its behalf. No scopes: all that it reaches.

    `details` name the task that the token is for, if it is for one.

    Does not look whether the client is authenticated or in standing.

    Raises: TargetInvalid, ScopeInvalid, GrantTypeNotAllowed, OwnerMissing, DetailsMalformed, TaskRefused,
        TargetOutsideTask
    """
    # INVARIANT: a public client proves nothing, so it never gets a token for itself.
    if isinstance(client.authentication, NoAuthentication) or GrantType.CLIENT_CREDENTIALS not in client.grants:
        raise GrantTypeNotAllowed(f"client `{client.id}` may not use client credentials")
    return authorize_itself(client, target, scopes, issuer, now=now, details=details)


def authorize_itself(
    client: Client,
    target: ResourceUri,
    scopes: frozenset[str],
    issuer: Issuer,
    *,
    now: int,
    details: str | None,
    within: Mapping[str, Collection[str]] | None = None,
) -> Authorized:
    """The same, however the client proved who it is; `within` narrows what it reaches, by names of resources.

    Raises: TargetInvalid, ScopeInvalid, OwnerMissing, DetailsMalformed, TaskRefused, TargetOutsideTask
    """
    resource = _resource(client, target, issuer)
    if within is not None and resource.name not in within:
        raise TargetInvalid(f"client `{client.id}` does not reach `{target}` this way")
    allowed = _allowed(client, resource)
    granted = narrow(scopes, allowed if within is None else allowed & frozenset(within[resource.name]))
    task = find_named_task(details, client, resource, issuer)
    check_task_subject(task, client.id)
    draft = draft_first(
        issuer, client_id=client.id, subject=client.id, resource=resource, scopes=granted, now=now, task=task
    )
    return Authorized(draft=draft, resource=resource)


def _resource(client: Client, target: ResourceUri, issuer: Issuer) -> Resource:
    """What the client reaches, or, if it answers for a server, the place where servers report."""
    if target == records_uri(issuer.url) and client.serves:
        resource = records_resource(issuer.url, client)
        issuer.standing.check_target(resource, issuer.registry)
        return resource
    return reachable(client, target, issuer)


def _allowed(client: Client, resource: Resource) -> frozenset[str]:
    is_built_in = resource.name not in client.reaches
    return frozenset(resource.scopes) if is_built_in else reach(client, resource)


def default_target(client: Client, issuer: Issuer) -> ResourceUri | None:
    """The resource that the configuration lets this client leave out."""
    resource = issuer.registry.resources.get(client.default_resource or "")
    return resource.uri if resource is not None else None


def reachable(client: Client, target: ResourceUri, issuer: Issuer) -> Resource:
    """The resource at this URI, if this client reaches it and it is in standing.

    The `upstream.resource` of a resource is at no `uri`: no client reaches it.

    Spec: RFC 8707 §2
    Raises: TargetInvalid, OwnerMissing
    """
    resource = issuer.registry.resource_at(target)
    if resource is None or resource.name not in client.reaches:
        raise TargetInvalid(f"`{target}` is unknown, or client `{client.id}` does not reach it")
    issuer.standing.check_target(resource, issuer.registry)
    return resource


def reach(client: Client, resource: Resource) -> frozenset[str]:
    """The scopes that this client may ask for at this resource."""
    return frozenset(client.reaches.get(resource.name, ())) & frozenset(resource.scopes)
