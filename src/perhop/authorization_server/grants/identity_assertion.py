"""Identity assertions (ID-JAG): the people's own identity provider says that a client may act for one of them here.

The provider stands where consent stands otherwise, so it is trusted for named clients only. No refresh token comes of
it: the client asks the provider again.

Spec: draft-ietf-oauth-identity-assertion-authz-grant
"""

from __future__ import annotations

from perhop.authorization_server.drafts import draft_first
from perhop.authorization_server.grants.asked import Asked
from perhop.authorization_server.grants.client_credentials import reach, reachable
from perhop.authorization_server.grants.named_task import check_task_subject, find_named_task
from perhop.authorization_server.grants.spent import spend_assertion
from perhop.authorization_server.issue import PERSON_PREFIX, Authorized
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.people_store import FederatedAccount
from perhop.core.assertion import VerifiedAssertion
from perhop.core.client import Client, NoAuthentication
from perhop.core.resource import Resource
from perhop.errors import (
    AssertionInvalid,
    AssertionOfAnother,
    AssertionOfAnotherResource,
    AssertionRefused,
    AssertionRevoked,
    BearerRefused,
    GrantTypeNotAllowed,
    ScopeInvalid,
    TargetInvalid,
    TargetMultiple,
)
from perhop.journal.record import Event, Record
from perhop.rules.resource_indicators import resolve_granted_target
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.revocation import RevocationKind
from perhop.rules.scope import narrow, parse_scope
from perhop.tokens.authorization_grant import one_text

_BEYOND_US = ("act", "authorization_details")
"""Claims that narrow what is meant in ways that a token of ours could not say on."""


async def authorize(asked: Asked, assertion: VerifiedAssertion, issuer: Issuer) -> Authorized:
    """Authorize a client for a person: client -> tenant -> resource -> task -> scopes -> person -> revocation -> spend.

    Spec: RFC 7521 §5.2
    Raises: AssertionInvalid, TargetMultiple, TargetInvalid, ScopeInvalid, OwnerMissing, GrantTypeNotAllowed,
        DetailsMalformed, TaskRefused, TargetOutsideTask, StorageUnavailable, JournalUnavailable
    """
    client = asked.client
    _check_client(client, assertion)
    _check_honoured(assertion)
    resource = _resource(asked, assertion, issuer)
    _check_tenants(assertion, resource)
    task = find_named_task(asked.form.one("authorization_details"), client, resource, issuer)
    scopes = narrow(parse_scope(asked.form.one("scope")), _asserted_scopes(client, resource, assertion))
    person = await _person(assertion, issuer)
    check_task_subject(task, person)
    _check_revocations(assertion, client, person, resource, issuer)
    await spend_assertion(assertion, issuer)
    draft = draft_first(
        issuer, client_id=client.id, subject=person, resource=resource, scopes=scopes, now=asked.now, task=task
    )
    return Authorized(draft=draft, resource=resource)


def _check_client(client: Client, assertion: VerifiedAssertion) -> None:
    """The client that authenticated is the one for which the assertion was made, and the provider may speak for it."""
    # INVARIANT: a public client proves nothing, so whoever stole the assertion would be it.
    if isinstance(client.authentication, NoAuthentication):
        raise GrantTypeNotAllowed(f"client `{client.id}` is public, and may bring no identity assertion")
    if assertion.claims.get("client_id") != client.id:
        raise AssertionOfAnother(f"the assertion was not made for client `{client.id}`")
    if client.id not in assertion.issuer.clients:
        raise AssertionOfAnother(f"issuer `{assertion.issuer.name}` is not trusted for client `{client.id}`")


def _check_honoured(assertion: VerifiedAssertion) -> None:
    beyond = [name for name in _BEYOND_US if name in assertion.claims]
    if beyond:
        raise AssertionInvalid(f"the assertion has `{beyond[0]}`, which a token here could not carry on")


def _resource(asked: Asked, assertion: VerifiedAssertion, issuer: Issuer) -> Resource:
    """The resource that the assertion is for; the request may repeat it, and name no other. Spec: RFC 8707 §2.2."""
    try:
        # MCP's extension wants `resource`, which the draft would let be left out.
        granted = parse_resource_uri(one_text(assertion.claims, "resource"))
    except BearerRefused as fact:
        raise AssertionRefused(fact) from None
    audiences = asked.form.all("audience")
    try:
        target = resolve_granted_target(asked.form.all("resource"), granted=granted, audience_values=audiences)
    except TargetMultiple:
        raise
    except TargetInvalid as fact:
        raise AssertionOfAnotherResource(fact.detail) from None
    return reachable(asked.client, target, issuer)


def _check_tenants(assertion: VerifiedAssertion, resource: Resource) -> None:
    """A person is one of one tenant of the provider; and the tenant that is meant here is the resource's."""
    if assertion.claims.get("tenant") != assertion.issuer.tenant:
        raise AssertionOfAnother(f"`tenant` is not the one that issuer `{assertion.issuer.name}` is trusted for")
    if "aud_tenant" in assertion.claims and assertion.claims["aud_tenant"] != resource.tenant:
        raise AssertionOfAnotherResource(f"`aud_tenant` is not the tenant of `{resource.name}`")


def _asserted_scopes(client: Client, resource: Resource, assertion: VerifiedAssertion) -> frozenset[str]:
    """What the client reaches there, and the provider says, if it says any: what only one of them names is not given.

    Spec: RFC 6749 §3.3
    """
    scope = assertion.claims.get("scope")
    if "scope" not in assertion.claims:
        return reach(client, resource)
    if not isinstance(scope, str):
        raise AssertionInvalid("`scope` is not a text")
    try:
        return reach(client, resource) & parse_scope(scope)
    except ScopeInvalid as fact:
        raise AssertionInvalid(f"`scope`: {fact.detail}") from None


async def _person(assertion: VerifiedAssertion, issuer: Issuer) -> str:
    """Our name for this person of this issuer, made when they are first seen.

    INVARIANT: the issuer is part of whom we know them by, so no issuer can name a person of another.

    Raises: AssertionOfAnother, StorageUnavailable, JournalUnavailable
    """
    people, trusted = issuer.stores.federated_accounts, assertion.issuer
    known = await people.find(trusted.issuer, assertion.subject)
    if known is None:
        subject = f"{PERSON_PREFIX}{issuer.new_id()}"
        # Recorded first: what gives power is never done without a record.
        about = {"account": subject, "change": "federated", "issuer": trusted.name, "subject": assertion.subject}
        await issuer.journal.append(Record(event=Event.ACCOUNT_CHANGED, about={**about, "by": "perhop"}))
        known = await people.add(
            FederatedAccount(
                issuer=trusted.issuer,
                subject_there=assertion.subject,
                subject=subject,
                email=None,
                groups=None,
                seen_at=0,
            )
        )
    if known.disabled or await issuer.stores.accounts.is_disabled(known.subject):
        raise AssertionOfAnother(f"the account of `{known.subject}` is disabled")
    return known.subject


def _check_revocations(
    assertion: VerifiedAssertion, client: Client, person: str, resource: Resource, issuer: Issuer
) -> None:
    """A revocation after the provider made the assertion stops it as it would have stopped its token."""
    names = (
        (RevocationKind.SUBJECT, person),
        (RevocationKind.AGENT, client.id),
        (RevocationKind.RESOURCE, resource.uri),
        (RevocationKind.TENANT, resource.tenant or ""),
    )
    issued_at = assertion.issued_at or 0
    if any(issuer.revocations.covers(kind, value, issued_at=issued_at) for kind, value in names):
        raise AssertionRevoked("what the assertion stands for was revoked since it was made")
