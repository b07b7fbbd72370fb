"""Accounts of people whom other issuers know, by issuer and subject there. Never looked up by an address."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, literal, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.authorization_server.people_store import FederatedAccount
from perhop.storage.engine import Database
from perhop.storage.schema import federated_account, sign_in
from perhop.storage.short_writes import as_sql, one_row

_ACCOUNT = federated_account.c


class SqlFederatedAccounts:
    """Federated accounts in `perhop.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, issuer: str, subject_there: str) -> FederatedAccount | None:
        """The account of this person, disabled or not.

        Raises: StorageUnavailable
        """
        return await self._one(_ACCOUNT.issuer == issuer, _ACCOUNT.subject_there == subject_there)

    async def of_subject(self, subject: str) -> FederatedAccount | None:
        """The account with this subject of ours, disabled or not.

        Raises: StorageUnavailable
        """
        whose = {"of_subject": subject}
        row = await self._database.read_shortly(lambda connection: one_row(connection.execute(_OF_SUBJECT, whose)))
        return _account(row) if row is not None else None

    async def add(self, account: FederatedAccount) -> FederatedAccount:
        """Add; of two at once, both get the one account.

        Raises: StorageUnavailable
        """
        added = insert(federated_account).values(**_key(account), subject=account.subject, **_said(account))

        async def work(connection: AsyncConnection) -> FederatedAccount:
            await connection.execute(added.on_conflict_do_nothing())
            where = (_ACCOUNT.issuer == account.issuer, _ACCOUNT.subject_there == account.subject_there)
            return _account((await connection.execute(select(federated_account).where(*where))).one())

        return await self._database.write(work)

    async def keep(self, account: FederatedAccount) -> FederatedAccount:
        """Add, or keep what is new; of two first sign-ins at once, both get the one account.

        Raises: StorageUnavailable
        """
        said, key = _said(account), _key(account)
        statement = insert(federated_account).values(**key, subject=account.subject, **said)
        kept = statement.on_conflict_do_update(index_elements=list(key), set_=said).returning(*federated_account.c)
        (row,) = await self._database.apply(kept)
        return _account(row)

    async def list(self) -> Sequence[FederatedAccount]:
        """Every account, by issuer and subject there.

        Raises: StorageUnavailable
        """
        rows = await self._database.rows(
            select(federated_account).order_by(_ACCOUNT.issuer, _ACCOUNT.email, _ACCOUNT.subject_there)
        )
        return [_account(row) for row in rows]

    async def disable(self, subject: str) -> bool:
        """Disable the account and end its sign-ins; False if there is none.

        Raises: StorageUnavailable
        """
        change = update(federated_account).where(_ACCOUNT.subject == subject).values(disabled=True)

        async def work(connection: AsyncConnection) -> bool:
            found = (await connection.execute(change.returning(_ACCOUNT.subject))).one_or_none()
            await connection.execute(delete(sign_in).where(sign_in.c.subject == subject))
            return found is not None

        return await self._database.write(work)

    async def enable(self, subject: str) -> bool:
        """Lift the disabling; False if the account was not disabled, or there is none. Sign-ins that ended stay ended.

        Raises: StorageUnavailable
        """
        where = (_ACCOUNT.subject == subject, _ACCOUNT.disabled.is_(True))
        change = update(federated_account).where(*where).values(disabled=False)
        return bool(await self._database.apply(change.returning(literal(1))))

    async def _one(self, *where: ColumnElement[bool]) -> FederatedAccount | None:
        rows = await self._database.rows(select(federated_account).where(*where))
        return _account(rows[0]) if rows else None


def _key(account: FederatedAccount) -> dict[str, str]:
    return {"issuer": account.issuer, "subject_there": account.subject_there}


def _said(account: FederatedAccount) -> dict[str, Any]:
    groups = None if account.groups is None else json.dumps(sorted(account.groups))
    return {"email": account.email, "groups": groups, "seen_at": account.seen_at}


_OF_SUBJECT = as_sql(select(federated_account).where(_ACCOUNT.subject == bindparam("of_subject")))


def _account(row: Any) -> FederatedAccount:
    return FederatedAccount(
        issuer=row.issuer,
        subject_there=row.subject_there,
        subject=row.subject,
        email=row.email,
        groups=None if row.groups is None else frozenset(json.loads(row.groups)),
        seen_at=row.seen_at,
        disabled=bool(row.disabled),
    )
