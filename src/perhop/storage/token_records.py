"""Token records: the durable trace that every token has before it leaves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, bindparam, exists, insert, literal, select

from perhop.authorization_server.store import TokenRecord
from perhop.errors import CodeReplayed
from perhop.storage.engine import Database
from perhop.storage.schema import authorization_code, token_record

RECORD_COLUMNS = tuple(column for column in token_record.columns if column.name != "code_hash")
"""What a TokenRecord is made of, in the order of its fields' names."""


def read_token_record(row: Row[Any]) -> TokenRecord:
    """The record that a row of RECORD_COLUMNS holds."""
    return TokenRecord(**row._mapping)


class SqlTokenRecords:
    """Token records in `perhop.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: TokenRecord) -> None:
        """Durable when it returns.

        Raises: StorageUnavailable
        """
        await self._database.apply(insert(token_record).values(**asdict(record)))

    async def add_for_code(self, record: TokenRecord, code_hash: str) -> None:
        """Add, and tie the token to its code, unless that code was used a second time in between.

        The second use found no token to revoke, so the first must not make one any more.

        Raises: CodeReplayed, StorageUnavailable
        """
        values = {**asdict(record), "code_hash": code_hash}
        used_once = exists().where(authorization_code.c.code_hash == code_hash, authorization_code.c.uses == 1)
        columns = [bindparam(None, value, type_=token_record.c[name].type) for name, value in values.items()]
        statement = insert(token_record).from_select(list(values), select(*columns).where(used_once))
        added = await self._database.apply(statement.returning(literal(1)))
        if not added:
            raise CodeReplayed("the code was used again before its first token was recorded")
