"""Policy sets in `perhop.db`: their files, approvals, and what was in force."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import exists, literal, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.policy.versions import Approval, PolicyVersion, TimeInForce
from perhop.storage.engine import Database
from perhop.storage.schema import policy_approval, policy_in_force, policy_version


class SqlPolicyVersions:
    """PolicyVersionRows. INVARIANT: files, author and approval of a version are written once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Sequence[PolicyVersion]:
        """Every version, in the order in which they were kept.

        Raises: StorageUnavailable, as every verb here
        """

        async def work(connection: AsyncConnection) -> Sequence[PolicyVersion]:
            return await _read(connection, None)

        return await self._database.read(work)

    async def get(self, digest: str) -> PolicyVersion | None:
        """One version, with all that became of it."""

        async def work(connection: AsyncConnection) -> PolicyVersion | None:
            return next(iter(await _read(connection, digest)), None)

        return await self._database.read(work)

    async def keep(self, digest: str, sources: Mapping[str, str], *, author: str, now: int) -> PolicyVersion:
        """Keep a set; one that is kept already stays as it is, with its author."""
        row = {"digest": digest, "sources": json.dumps(dict(sources)), "author": author, "kept_at": now}
        await self._database.apply(insert(policy_version).values(row).on_conflict_do_nothing())
        kept = await self.get(digest)
        assert kept is not None
        return kept

    async def approve(self, digest: str, approval: Approval) -> bool:
        """False if it is approved already: the first approval stays."""
        row = {
            "digest": digest,
            "reviewer": approval.reviewer,
            "entered_by": approval.entered_by,
            "approved_at": approval.at,
        }
        statement = insert(policy_approval).values(row).on_conflict_do_nothing().returning(literal(1))
        return bool(await self._database.apply(statement))

    async def put_in_force(self, digest: str, *, by: str, now: int) -> None:
        """Note that this one is in force from now on; nothing if it was the last one noted."""
        last = select(policy_in_force.c.digest).order_by(policy_in_force.c.number.desc()).limit(1)

        async def work(connection: AsyncConnection) -> None:
            if (await connection.execute(last)).scalar() != digest:
                await connection.execute(insert(policy_in_force).values(digest=digest, put_by=by, since=now))

        await self._database.write(work)

    async def last_in_force(self, *, approved: bool = False) -> PolicyVersion | None:
        """The one that was put in force last; with `approved`, the last that somebody has approved."""
        last = select(policy_in_force.c.digest).order_by(policy_in_force.c.number.desc()).limit(1)
        if approved:
            last = last.where(exists().where(policy_approval.c.digest == policy_in_force.c.digest))
        rows = await self._database.rows(last)
        return await self.get(rows[0].digest) if rows else None


async def _read(connection: AsyncConnection, digest: str | None) -> Sequence[PolicyVersion]:
    def of(statement: Any, column: Any) -> Any:
        return statement if digest is None else statement.where(column == digest)

    approvals = {
        row.digest: Approval(reviewer=row.reviewer, entered_by=row.entered_by, at=row.approved_at)
        for row in await connection.execute(of(select(policy_approval), policy_approval.c.digest))
    }
    in_force: dict[str, list[TimeInForce]] = {}
    ordered = select(policy_in_force).order_by(policy_in_force.c.number)
    for row in await connection.execute(of(ordered, policy_in_force.c.digest)):
        in_force.setdefault(row.digest, []).append(TimeInForce(by=row.put_by, since=row.since))
    kept = select(policy_version).order_by(policy_version.c.kept_at, policy_version.c.digest)
    return [
        PolicyVersion(
            digest=row.digest,
            sources=json.loads(row.sources),
            author=row.author,
            kept_at=row.kept_at,
            approval=approvals.get(row.digest),
            in_force=tuple(in_force.get(row.digest, ())),
        )
        for row in await connection.execute(of(kept, policy_version.c.digest))
    ]
