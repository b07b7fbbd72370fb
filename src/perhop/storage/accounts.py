"""Local accounts. E-mail addresses are kept and looked up in lower case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, literal, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.authorization_server.store import Account
from perhop.storage.engine import Database
from perhop.storage.schema import account, sign_in
from perhop.storage.short_writes import as_sql, one_row


class SqlAccounts:
    """Accounts in `perhop.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, added: Account) -> bool:
        """False if the e-mail address (or the subject) is taken.

        Raises: StorageUnavailable
        """
        values = {
            "email": added.email.lower(),
            "subject": added.subject,
            "password_hash": added.password_hash,
            "disabled": added.disabled,
            "console_only": added.console_only,
        }
        statement = insert(account).values(**values).on_conflict_do_nothing().returning(literal(1))
        return bool(await self._database.apply(statement))

    async def get(self, email: str) -> Account | None:
        """The account, disabled or not.

        Raises: StorageUnavailable
        """
        rows = await self._database.rows(select(account).where(account.c.email == email.lower()))
        return _account(rows[0]) if rows else None

    async def of_subject(self, subject: str) -> Account | None:
        """The account, disabled or not.

        Raises: StorageUnavailable
        """
        whose = {"of_subject": subject}
        row = await self._database.read_shortly(lambda connection: one_row(connection.execute(_OF_SUBJECT, whose)))
        return _account(row) if row is not None else None

    async def is_disabled(self, subject: str) -> bool:
        """True if there is an account of this subject, and it is disabled.

        Raises: StorageUnavailable
        """
        wanted = (account.c.subject == subject, account.c.disabled.is_(True))
        return bool(await self._database.rows(select(literal(1)).select_from(account).where(*wanted)))

    async def list(self) -> Sequence[Account]:
        """Every account, by address.

        Raises: StorageUnavailable
        """
        return [_account(row) for row in await self._database.rows(select(account).order_by(account.c.email))]

    async def disable(self, email: str) -> bool:
        """Disable the account and end its sign-ins; False if there is none.

        Raises: StorageUnavailable
        """
        return await self._change(email, disabled=True)

    async def enable(self, email: str) -> bool:
        """Lift the disabling; False if the account was not disabled, or there is none. Sign-ins that ended stay ended.

        Raises: StorageUnavailable
        """
        where = (account.c.email == email.lower(), account.c.disabled.is_(True))
        return bool(
            await self._database.apply(update(account).where(*where).values(disabled=False).returning(literal(1)))
        )

    async def set_password(self, email: str, password_hash: str) -> bool:
        """Change the password and end the sign-ins made with the old one; False if there is no such account.

        Raises: StorageUnavailable
        """
        return await self._change(email, password_hash=password_hash)

    async def _change(self, email: str, **values: object) -> bool:
        change = update(account).where(account.c.email == email.lower()).values(**values).returning(account.c.subject)

        async def work(connection: AsyncConnection) -> bool:
            subject = (await connection.execute(change)).scalar_one_or_none()
            if subject is not None:
                await connection.execute(delete(sign_in).where(sign_in.c.subject == subject))
            return subject is not None

        return await self._database.write(work)


_OF_SUBJECT = as_sql(select(account).where(account.c.subject == bindparam("of_subject")))


def _account(row: Any) -> Account:
    return Account(
        email=row.email,
        subject=row.subject,
        password_hash=row.password_hash,
        disabled=bool(row.disabled),
        console_only=bool(row.console_only),
    )
