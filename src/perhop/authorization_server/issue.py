"""Issuing: what every grant ends in. Policy may forbid; then mint, record, look again, journal, and only then hand out.

Which client may get what is the grants' part; who the client is, the endpoint's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from perhop.authorization_server.canary import is_canary
from perhop.authorization_server.issuer import Issuer, Policy
from perhop.authorization_server.refresh_families import FirstOfFamily, NextRefreshToken, end_reused
from perhop.authorization_server.store import TokenRecord
from perhop.core.call import Action, Target
from perhop.core.decision import Allow, Deny, NeedsApproval, Question
from perhop.core.resource import Resource
from perhop.core.task import Task
from perhop.core.token import MintedToken, TokenDraft, VerifiedToken
from perhop.errors import (
    RefreshRevoked,
    SubjectTokenRefused,
    TargetForbidden,
    TargetUndecidable,
    TaskExpired,
    TaskOutside,
    TaskRefused,
    TaskSuperseded,
    TokenRevoked,
)
from perhop.journal.record import KEPT_HERE, Event, Inbound, Outbound, Record, RequestFacts, TaskFacts
from perhop.tokens.mint import mint

PERSON_PREFIX = "user:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorized:
    """What a grant allows: a draft, and what it rests on. Not a token yet, and not recorded.

    `is_alone`: neither the token nor the request for it rests on, or has changed, anything in the database.
    """

    draft: TokenDraft
    resource: Resource
    subject_token: VerifiedToken | None = None
    code_hash: str | None = None
    refresh: NextRefreshToken | None = None
    is_alone: bool = False


def question_of(draft: TokenDraft, resource: Resource, action: Action, *, task: Task | None, ip: str = "") -> Question:
    """What policy is asked before this token is minted: the token as it would be, at the server it is for."""
    return Question(
        target=Target(action),
        agent=draft.agent or draft.client_id,
        server=resource.name,
        subject=draft.subject if draft.subject.startswith(PERSON_PREFIX) else None,
        client_id=draft.client_id,
        actors=tuple(draft.actor.chain()) if draft.actor else (),
        scopes=draft.scopes,
        hop=draft.hop,
        now=draft.issued_at,
        arguments={},
        tenant=draft.tenant,
        ip=ip,
        task=task,
        authentication=draft.authentication,
    )


def check_policy(policy: Policy, question: Question) -> None:
    """Refuse where policy forbids or cannot tell.

    Raises: TargetForbidden, TargetUndecidable
    """
    match decision := policy.decide(question):
        case Allow():
            return
        case NeedsApproval():  # of a token nobody is asked: what is not a plain yes is a no
            raise TargetForbidden(f"wants an approval: {', '.join(decision.asking)}")
        case Deny(failed=True):
            raise TargetUndecidable(decision.detail)
        case Deny():
            raise TargetForbidden(f"forbidden by {', '.join(decision.policies) or 'policy'}")
        case _:
            assert_never(decision)


async def issue(
    authorized: Authorized,
    issuer: Issuer,
    *,
    request: RequestFacts | None = None,
    about: Mapping[str, Any] | None = None,
) -> MintedToken:
    """Mint a token and make it durable, before it leaves.

    Does not ask policy and does not look at who asks. A code's family begins here, a refresh token is spent here. What
    is alone has its record in the journal, and a row beside it only for the sake of `LastRow`.

    Raises: CodeReplayed, CodeInvalid, RefreshReused, RefreshRevoked, SubjectTokenRefused, TaskRefused,
        StorageUnavailable, JournalUnavailable
    """
    minted = mint(authorized.draft, issuer.keyring.active)
    second = authorized.draft.issued_at
    has_row = not (authorized.is_alone and issuer.last_row.is_of(second))
    if has_row:
        await _record(authorized, issuer)
    else:
        about = {**(about or {}), **KEPT_HERE}
    _look_again(authorized, issuer)
    task = issuer.tasks.facts(authorized.draft.task)
    await issuer.journal.append(_issued(authorized, task=task, request=request, about=about))
    if has_row:
        issuer.last_row.stands(second)
    return minted


async def issue_canary(draft: TokenDraft, issuer: Issuer, *, about: Mapping[str, Any]) -> MintedToken:
    """Mint a token for an audience that is nobody's, as durable as any other; its records name no resource.

    Raises: StorageUnavailable, JournalUnavailable
    """
    if not is_canary(draft.audience, issuer):
        raise ValueError("the audience is no canary")
    minted = mint(draft, issuer.keyring.active)
    await issuer.stores.token_records.add(_token_record(draft, parent_audience=None))
    await issuer.journal.append(
        Record(
            event=Event.TOKEN_ISSUED,
            txn=draft.txn,
            hop=draft.hop,
            outbound=Outbound.of(draft),
            client=draft.client_id,
            about=about,
        )
    )
    return minted


async def _record(authorized: Authorized, issuer: Issuer) -> None:
    parent = authorized.subject_token
    refresh = authorized.refresh
    record = _token_record(
        authorized.draft,
        parent_audience=None if parent is None else parent.audience,
        family=None if refresh is None else refresh.family.id,
    )
    if authorized.code_hash is not None:
        begins = None if refresh is None else FirstOfFamily(refresh.family, refresh.token)
        await issuer.stores.token_records.add_for_code(record, authorized.code_hash, begins=begins)
    elif refresh is not None and refresh.spends is not None:
        await _spend(record, refresh.spends, refresh, issuer)
    else:
        await issuer.stores.token_records.add(record)


async def _spend(record: TokenRecord, spends: str, refresh: NextRefreshToken, issuer: Issuer) -> None:
    """Spend the refresh token, if nobody has in between: who comes second ends the family, as any later one does.

    Raises: RefreshReused, RefreshRevoked, StorageUnavailable, JournalUnavailable
    """
    if await issuer.stores.token_records.add_for_refresh(record, spends, refresh.token):
        return
    stored = await issuer.stores.refresh_tokens.find(spends)
    if stored is not None and stored.is_spent:
        raise await end_reused(refresh.family, issuer.revoker)
    raise RefreshRevoked("the refresh token's family was ended meanwhile")


def _token_record(draft: TokenDraft, *, parent_audience: str | None, family: str | None = None) -> TokenRecord:
    return TokenRecord(
        jti=draft.jti,
        parent_jti=draft.parent_jti,
        txn=draft.txn,
        hop=draft.hop,
        audience=draft.audience,
        subject=draft.subject,
        agent=draft.agent or draft.client_id,
        client_id=draft.client_id,
        scope=" ".join(sorted(draft.scopes)),
        issued_at=draft.issued_at,
        expires_at=draft.expires_at,
        tenant=draft.tenant,
        family=family,
        parent_audience=parent_audience,
        task=draft.task,
    )


def _look_again(authorized: Authorized, issuer: Issuer) -> None:
    """Refuse if the subject token was revoked, or the task ended, while the token was being recorded.

    INVARIANT: a revocation, or a task's end, is in force before it lists descendants, and the child is recorded before
    this look: so one of the two sees the other.
    """
    draft = authorized.draft
    try:
        if draft.task is not None:
            issuer.tasks.check(draft.task, agent=draft.agent or draft.client_id, subject=draft.subject)
        if authorized.subject_token is not None:
            issuer.revocations.check(authorized.subject_token)
    except TokenRevoked as fact:
        raise SubjectTokenRefused(fact) from None
    except (TaskOutside, TaskSuperseded, TaskExpired) as fact:
        raise (TaskRefused(fact) if authorized.subject_token is None else SubjectTokenRefused(fact)) from None


def _issued(
    authorized: Authorized, *, task: TaskFacts | None, request: RequestFacts | None, about: Mapping[str, Any] | None
) -> Record:
    draft, resource = authorized.draft, authorized.resource
    return Record(
        event=Event.TOKEN_ISSUED,
        txn=draft.txn,
        hop=draft.hop,
        parent_jti=draft.parent_jti,
        inbound=Inbound.of(authorized.subject_token) if authorized.subject_token is not None else None,
        outbound=Outbound.of(draft),
        task=task,
        request=request,
        owner=resource.owner,
        tenant=resource.tenant,
        resource=resource.name,
        client=draft.client_id,
        about=about,
    )
