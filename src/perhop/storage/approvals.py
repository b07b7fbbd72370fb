"""Approvals of calls: using one up, asking for one and deciding on one are a transaction each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.core.approval import Approval, ApprovalState, ExactCall
from perhop.gateway.approvals import StoredApproval
from perhop.rules.approval import decidable
from perhop.storage.engine import Database
from perhop.storage.schema import AS_ADDED, call_approval

_COLUMNS = call_approval.c
_OF_THE_CALL = ("agent", "subject", "audience", "task", "method", "params_sha256", "policy_version")
_OF_THE_APPROVAL = (
    "id",
    "client_id",
    "resource",
    "name",
    "asked_at",
    "expires_at",
    "decided_by",
    "decided_at",
    "why",
    "used_at",
)


class SqlApprovalRows:
    """Approvals in `perhop.db`. INVARIANT: what is kept for the person who decides goes with the state `waiting`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def use(self, digest: str, *, now: int) -> Approval | None:
        """Of many that try at the same time one finds it approved.

        Raises: StorageUnavailable
        """
        statement = (
            update(call_approval)
            .where(_is_open(digest, now=now), _COLUMNS.state == ApprovalState.APPROVED)
            .values(state=ApprovalState.USED.value, used_at=now)
            .returning(call_approval)
        )
        rows = await self._database.apply(statement)
        return _approval(rows[0]) if rows else None

    async def ask(self, digest: str, asked: StoredApproval, *, most: int, now: int) -> tuple[Approval, bool] | None:
        """The look and the insertion are one transaction: one call waits once, however often it is made.

        Raises: StorageUnavailable
        """
        states = [ApprovalState.WAITING.value, ApprovalState.DENIED.value, ApprovalState.APPROVED.value]
        open_one = select(call_approval).where(_is_open(digest, now=now), _COLUMNS.state.in_(states))
        waiting = (
            select(func.count())
            .select_from(call_approval)
            .where(
                _COLUMNS.state == ApprovalState.WAITING.value,
                _COLUMNS.agent == asked.approval.call.agent,
                _COLUMNS.expires_at > now,
            )
        )

        async def work(connection: AsyncConnection) -> tuple[Approval, bool] | None:
            found = (await connection.execute(open_one)).first()
            if found is not None:
                return _approval(found), False
            if (await connection.execute(waiting)).scalar_one() >= most:
                return None
            await connection.execute(insert(call_approval).values(**_values(digest, asked)))
            return asked.approval, True

        return await self._database.write(work)

    async def decide(self, decided: Approval) -> bool:
        """Raises: StorageUnavailable."""
        states = decidable(allow=decided.state is ApprovalState.APPROVED)
        statement = (
            update(call_approval)
            .where(_COLUMNS.id == decided.id, _COLUMNS.state.in_([each.value for each in states]))
            .values(
                state=decided.state.value,
                decided_by=decided.decided_by,
                decided_at=decided.decided_at,
                expires_at=decided.expires_at,
                why=decided.why,
                sealed=None,
            )
            .returning(_COLUMNS.id)
        )
        return bool(await self._database.apply(statement))

    async def expire(self, *, now: int) -> Sequence[Approval]:
        """Raises: StorageUnavailable."""
        late = and_(_COLUMNS.state == ApprovalState.WAITING.value, _COLUMNS.expires_at <= now)
        if not await self._database.rows(select(_COLUMNS.id).where(late).limit(1)):
            return ()  # asked often, and hardly ever anything to write
        statement = (
            update(call_approval)
            .where(late)
            .values(state=ApprovalState.EXPIRED.value, sealed=None)
            .returning(call_approval)
        )
        return [_approval(row) for row in await self._database.apply(statement)]

    async def get(self, approval: str) -> StoredApproval | None:
        """Raises: StorageUnavailable."""
        rows = await self._database.rows(select(call_approval).where(_COLUMNS.id == approval))
        return _stored(rows[0]) if rows else None

    async def waiting(self, *, now: int) -> Sequence[StoredApproval]:
        """Raises: StorageUnavailable."""
        wanted = (_COLUMNS.state == ApprovalState.WAITING.value, _COLUMNS.expires_at > now)
        rows = await self._database.rows(select(call_approval).where(*wanted).order_by(_COLUMNS.asked_at, AS_ADDED))
        return [_stored(row) for row in rows]

    async def untold(self, *, now: int) -> Sequence[Approval]:
        """Those that wait and that no webhook has taken, the oldest first.

        Raises: StorageUnavailable
        """
        wanted = (
            _COLUMNS.state == ApprovalState.WAITING.value,
            _COLUMNS.expires_at > now,
            _COLUMNS.told_at.is_(None),
        )
        rows = await self._database.rows(select(call_approval).where(*wanted).order_by(_COLUMNS.asked_at, AS_ADDED))
        return [_approval(row) for row in rows]

    async def told(self, approval: str, *, now: int) -> None:
        """Raises: StorageUnavailable."""
        await self._database.apply(update(call_approval).where(_COLUMNS.id == approval).values(told_at=now))

    async def all(self) -> Sequence[StoredApproval]:
        """Raises: StorageUnavailable."""
        rows = await self._database.rows(select(call_approval).order_by(_COLUMNS.asked_at, AS_ADDED))
        return [_stored(row) for row in rows]


def _is_open(digest: str, *, now: int) -> ColumnElement[bool]:
    return and_(_COLUMNS.digest == digest, _COLUMNS.expires_at > now)


def _values(digest: str, stored: StoredApproval) -> Mapping[str, Any]:
    approval = stored.approval
    return {
        "digest": digest,
        "policies": json.dumps(approval.policies),
        "state": approval.state.value,
        "sealed": stored.sealed,
        **{name: getattr(approval.call, name) for name in _OF_THE_CALL},
        **{name: getattr(approval, name) for name in _OF_THE_APPROVAL},
    }


def _stored(row: Row[Any]) -> StoredApproval:
    return StoredApproval(_approval(row), row.sealed)


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        call=ExactCall(**{name: getattr(row, name) for name in _OF_THE_CALL}),
        policies=tuple(json.loads(row.policies)),
        state=ApprovalState(row.state),
        **{name: getattr(row, name) for name in _OF_THE_APPROVAL},
    )
