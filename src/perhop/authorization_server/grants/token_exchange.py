"""Token exchange: the server of one resource calls on, with a token of its own for exactly one other resource.

Impersonation is not built: the child always names the presenter in `act`.

Spec: RFC 8693 §2
"""

from __future__ import annotations

from perhop.authorization_server.drafts import draft_child
from perhop.authorization_server.form import Form
from perhop.authorization_server.grants.asked import Asked
from perhop.authorization_server.grants.named_task import check_same_task
from perhop.authorization_server.issue import Authorized
from perhop.authorization_server.issuer import Issuer
from perhop.core.client import Client
from perhop.core.resource import Hop, Resource, ResourceUri
from perhop.core.task import Task
from perhop.core.token import BoundToken, SenderKey, SenderUnprovable, VerifiedToken
from perhop.errors import (
    BearerRefused,
    HopUnknown,
    PresenterMismatch,
    SenderMismatch,
    SubjectTokenRefused,
    TargetInvalid,
    TaskExpired,
    TaskOutside,
    TaskSuperseded,
    TokenExpired,
    TokenRequestMalformed,
)
from perhop.rules.audience import bind_audience
from perhop.rules.delegation import check_cycle, check_may_act
from perhop.rules.lifetime import access_lifetime
from perhop.rules.resource_indicators import resolve_target
from perhop.rules.scope import map_through_hop, narrow, parse_scope
from perhop.rules.task import check_resource

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"


def verify_subject_token(form: Form, issuer: Issuer, *, now: int) -> VerifiedToken:
    """Verify the token that is to be exchanged: ours, an access token, unexpired without leeway; its signature once.

    Does not look at its audience, revocation or standing.

    Spec: RFC 8693 §2.1
    Raises: TokenRequestMalformed, SubjectTokenRefused
    """
    if form.one("actor_token") is not None or form.one("actor_token_type") is not None:
        raise TokenRequestMalformed("`actor_token` is not taken: the authenticated client is the actor")
    for name in ("subject_token_type", "requested_token_type"):
        if form.one(name) not in (None, ACCESS_TOKEN_TYPE):
            raise TokenRequestMalformed(f"`{name}` is not an access token's")
    raw = form.required("subject_token")
    try:
        kept = issuer.kept_tokens
        return kept.verify(kept.read(raw), keys={issuer.url: issuer.keyring.verify_keys()}, now=now)
    except BearerRefused as fact:
        raise SubjectTokenRefused(fact) from None


async def authorize(asked: Asked, issuer: Issuer) -> Authorized:
    """Authorize an exchange: target -> presenter -> subject token -> hop -> task -> chain -> scopes.

    The child is of the same task, and the request may name no other.

    Spec: RFC 8693 §2.2
    Raises: TargetMissing, TargetMultiple, TargetInvalid, HopUnknown, PresenterMismatch, SubjectTokenRefused,
        ChainTooDeep, ChainCycle, ScopeInvalid, OwnerMissing, DetailsMalformed, TaskRefused, StorageUnavailable
    """
    assert asked.subject_token is not None, "the endpoint verifies the subject token of every exchange"
    wanted = resolve_target(asked.form.all("resource"), audience_values=asked.form.all("audience"))
    source, bound = _bind_to_presenter(asked.subject_token, asked.client, issuer)
    task = check_subject_token(bound.token, issuer, key=asked.key)
    _check_standing(bound, source, issuer, now=asked.now)
    hop, target = _follow_hop(source, wanted, issuer)
    parent = bound.token
    check_same_task(asked.form.one("authorization_details"), parent.task)
    _check_task_names(task, target)
    check_may_act(parent, asked.client.id, issuer.url)
    check_cycle(target.uri, await _audiences_of(parent, issuer))
    allowed = map_through_hop(parent.scopes, hop) & frozenset(target.scopes)
    scopes = narrow(parse_scope(asked.form.one("scope")), allowed)
    try:
        draft = draft_child(
            issuer,
            parent,
            presenter=asked.client.id,
            audience=target.uri,
            resource=target,
            scopes=scopes,
            lifetime=access_lifetime(target.risk),
            now=asked.now,
        )
    except TokenExpired as fact:
        raise SubjectTokenRefused(fact) from None
    return Authorized(draft=draft, resource=target, subject_token=parent)


async def _audiences_of(token: VerifiedToken, issuer: Issuer) -> frozenset[str]:
    """Every audience of the token's chain, its own included. Raises: StorageUnavailable, JournalUnavailable."""
    if token.hop == 1:  # the first of its chain says so itself, or comes from elsewhere and has no record
        return frozenset({token.audience})
    return await issuer.stores.lineage.audiences(token.jti) | {token.audience}


def _bind_to_presenter(token: VerifiedToken, client: Client, issuer: Issuer) -> tuple[Resource, BoundToken]:
    """Bind the token to the server that the client answers for: a token for anybody else is not the client's.

    Spec: RFC 8693 §5
    Raises: PresenterMismatch
    """
    source = issuer.registry.resource_served_at(token.audience)
    if source is None or source.name not in client.serves:
        raise PresenterMismatch(f"client `{client.id}` does not serve `{token.audience}`")
    return source, bind_audience(token, source.server_uri)


def check_subject_token(token: VerifiedToken, issuer: Issuer, *, key: str | None) -> Task | None:
    """Sender -> task -> revocation: what a subject token is refused for, whoever presents it and wherever it leads.

    Its presenter is the one whom it addresses, and cannot prove the sender's key. So that a bound token has no child
    which is good for whoever has it, the presenter proves a key of its own: `key`, to which the child is bound.

    Returns the task that the token names.

    Raises: SubjectTokenRefused
    """
    try:
        match token.sender:
            case SenderUnprovable():
                raise SenderMismatch("the subject token is bound to what is not taken here as a proof")
            case SenderKey() if key is None:
                raise SenderMismatch("the subject token is bound to a key, and the presenter proves none for its child")
            case _:
                pass
        task = issuer.tasks.check_token(token)  # before revocations: what ended with its task says so
        issuer.revocations.check(token)
    except (BearerRefused, TaskOutside, TaskSuperseded, TaskExpired) as fact:
        raise SubjectTokenRefused(fact) from None
    return task


def _check_task_names(task: Task | None, target: Resource) -> None:
    """Raises: SubjectTokenRefused."""
    try:
        if task is not None:
            check_resource(task, target.name)
    except TaskOutside as fact:
        raise SubjectTokenRefused(fact) from None


def _check_standing(bound: BoundToken, source: Resource, issuer: Issuer, *, now: int) -> None:
    """Raises: SubjectTokenRefused, OwnerMissing"""
    try:
        issuer.standing.check_token(bound.token, source, issuer.registry, now=now)
    except BearerRefused as fact:
        raise SubjectTokenRefused(fact) from None


def _follow_hop(source: Resource, wanted: ResourceUri, issuer: Issuer) -> tuple[Hop, Resource]:
    """The hop from the server of `source` to the resource whose `uri` is wanted.

    INVARIANT: a hop leads to a `uri`. An `upstream.resource` is nobody's `uri`, so no client gets a token for one.

    Raises: HopUnknown, TargetInvalid, OwnerMissing
    """
    target = issuer.registry.resource_at(wanted)
    if target is None and issuer.registry.resource_served_at(wanted) is None:
        raise TargetInvalid(f"`{wanted}` is not registered")
    hop = issuer.registry.hop(source.name, target.name) if target is not None else None
    if target is None or hop is None:
        raise HopUnknown(f"no hop leads from `{source.name}` to `{wanted}`")
    issuer.standing.check_target(target, issuer.registry)
    return hop, target
