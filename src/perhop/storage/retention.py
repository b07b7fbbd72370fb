"""Forgetting rows that can matter no more. What happened stays in the journal."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.core.approval import ApprovalState
from perhop.storage.engine import Database
from perhop.storage.schema import (
    agent_task,
    assertion,
    authorization_code,
    call_approval,
    refresh_family,
    refresh_token,
    revocation,
    sign_in,
    spent_grant,
    token_record,
    used_proof,
)

TOKEN_LIFETIME_CAP = 900
"""No access token lives longer, so the replay of a code that began no refresh family can revoke none after this."""

KEPT_AFTER_EXPIRY = 24 * 3600
"""How long the record of an expired token stays, for a look at what just happened."""

TASK_KEPT_AFTER_EXPIRY = 30 * 24 * 3600
"""How long a task that is over can still be looked at."""

APPROVAL_KEPT_AFTER_EXPIRY = 30 * 24 * 3600
"""How long a decision on a call can still be looked at."""


FAMILY_KEPT_AFTER_EXPIRY = 24 * 3600
"""How long a refresh family that is over, ended or not, can still be named. Until then its spent tokens are known."""


PROOF_KEPT_AFTER_EXPIRY = 900
"""How long a proof that is not taken any more is still known."""


async def forget_expired(database: Database, *, now: int) -> int:
    """Drop what expired; returns how many rows. A live token's ancestors outlive it, so lineage stays whole.

    Raises: StorageUnavailable
    """
    gone = refresh_family.c.expires_at <= now - FAMILY_KEPT_AFTER_EXPIRY
    dead = (
        delete(refresh_token).where(refresh_token.c.family.in_(select(refresh_family.c.id).where(gone))),
        delete(refresh_family).where(gone),
        delete(assertion).where(assertion.c.expires_at <= now),
        # A while longer: a clock that is set back must not bring a proof back to life.
        delete(used_proof).where(used_proof.c.expires_at <= now - PROOF_KEPT_AFTER_EXPIRY),
        delete(spent_grant).where(spent_grant.c.expires_at <= now),
        delete(sign_in).where(sign_in.c.expires_at <= now),
        delete(revocation).where(revocation.c.expires_at <= now),
        # A code that comes again ends the family that began with it, as long as there is one.
        delete(authorization_code).where(
            authorization_code.c.expires_at <= now - TOKEN_LIFETIME_CAP,
            authorization_code.c.code_hash.not_in(select(refresh_family.c.code_hash)),
        ),
        delete(token_record).where(token_record.c.expires_at <= now - KEPT_AFTER_EXPIRY),
        delete(agent_task).where(agent_task.c.expires_at <= now - TASK_KEPT_AFTER_EXPIRY),
        # What nobody has decided in time is recorded first: see `perhop.gateway.approvals`.
        delete(call_approval).where(
            call_approval.c.state != ApprovalState.WAITING.value,
            call_approval.c.expires_at <= now - APPROVAL_KEPT_AFTER_EXPIRY,
        ),
    )

    async def work(connection: AsyncConnection) -> int:
        return sum([(await connection.execute(statement)).rowcount for statement in dead])

    return await database.write(work)
