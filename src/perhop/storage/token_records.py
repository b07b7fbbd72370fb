"""Token records: the durable trace that every token has before it leaves."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

from sqlalchemy import Row, bindparam, exists, func, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.authorization_server.refresh_families import FirstOfFamily, RefreshToken
from perhop.authorization_server.store import TokenRecord
from perhop.errors import CodeInvalid, CodeReplayed
from perhop.storage.consents import is_given, note_use, note_use_shortly
from perhop.storage.engine import Database
from perhop.storage.refresh_families import begin_family, spend
from perhop.storage.schema import authorization_code, refresh_family, token_record
from perhop.storage.short_writes import NewRow

RECORD_COLUMNS = tuple(column for column in token_record.columns if column.name != "code_hash")
"""What a TokenRecord is made of, in the order of its fields' names."""


RECORD_NAMES = tuple(column.name for column in RECORD_COLUMNS)

_INTO = f"{token_record.name} ({', '.join(RECORD_NAMES)})"
_values_of = attrgetter(*RECORD_NAMES)


def read_token_record(row: Row[Any]) -> TokenRecord:
    """The record that a row of RECORD_COLUMNS holds."""
    return TokenRecord(**row._mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a client was given at the token endpoint; without a parent if it had no token to exchange."""

    client_id: str
    audience: str
    scope: str
    parent_jti: str | None
    parent_audience: str | None

    @classmethod
    def of(cls, record: TokenRecord) -> Given:
        """What the client has with this token."""
        return cls(
            client_id=record.client_id,
            audience=record.audience,
            scope=record.scope,
            parent_jti=record.parent_jti,
            parent_audience=record.parent_audience,
        )


async def given_now(database: Database, *, now: int) -> Sequence[Given]:
    """What clients were given by tokens with a row that have not expired, each kind of it once; `parent_jti` is one of
    several.

    Raises: StorageUnavailable
    """
    columns = token_record.c
    alike = (columns.client_id, columns.audience, columns.scope, columns.parent_audience)
    is_first = columns.parent_jti.is_(None)
    parent = func.min(columns.parent_jti).label("parent_jti")
    live = select(*alike, parent).where(columns.expires_at > now).group_by(*alike, is_first)
    return [Given(**row._mapping) for row in await database.rows(live)]


class SqlTokenRecords:
    """Token records in `perhop.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: TokenRecord) -> None:
        """Durable when it returns.

        Raises: StorageUnavailable
        """
        await self._database.write_shortly(_row(record))

    async def add_for_code(self, record: TokenRecord, code_hash: str, *, begins: FirstOfFamily | None = None) -> None:
        """Add, tie the token to its code, and begin its family, unless that code was used a second time in between.

        The second use found no token to revoke, so the first must not make one any more. Neither must a code whose
        person has taken the consent back; under a task it rests on the task's approval.

        Raises: CodeReplayed, CodeInvalid, StorageUnavailable
        """
        values = {**asdict(record), "code_hash": code_hash}
        code = authorization_code.c
        used_once = exists().where(code.code_hash == code_hash, code.uses == 1)
        rests_on_consent = or_(code.task.is_not(None), is_given(code.subject, code.client_id, code.resource))
        rests = select(rests_on_consent).where(code.code_hash == code_hash)
        columns = [bindparam(None, value, type_=token_record.c[name].type) for name, value in values.items()]
        statement = insert(token_record).from_select(list(values), select(*columns).where(used_once))

        async def work(connection: AsyncConnection) -> None:
            stands = (await connection.execute(rests)).scalar_one_or_none()
            if stands is None:
                raise CodeInvalid("the code is forgotten, with the consent that it rests on")
            if (await connection.execute(statement.returning(literal(1)))).one_or_none() is None:
                raise CodeReplayed("the code was used again before its first token was recorded")
            if not stands:
                raise CodeInvalid("the consent that the code rests on was taken back")
            if begins is not None and not await begin_family(connection, begins, code_hash=code_hash):
                raise CodeInvalid("what the code stands for was revoked while it was redeemed")
            await note_use(connection, record)

        await self._database.write(work)

    async def add_for_refresh(self, record: TokenRecord, spent_hash: str, following: RefreshToken) -> bool:
        """Spend a refresh token, put the next one in its place, and add the record: one transaction.

        False, and nothing is done, if it is spent or has expired, or its family is over.

        Raises: StorageUnavailable
        """

        def work(connection: sqlite3.Connection) -> bool:
            if not spend(connection, spent_hash, following):
                return False
            _row(record)(connection)
            note_use_shortly(connection, record)
            return True

        return await self._database.write_shortly(work)


async def issued_audiences(database: Database, *, now: int) -> frozenset[str]:
    """The audience of every token with a row that has not expired, and the resource of every family in force.

    Raises: StorageUnavailable
    """
    family = refresh_family.c
    standing = (family.ended_at.is_(None), family.expires_at > now)
    tokens = select(token_record.c.audience).where(token_record.c.expires_at > now)
    rows = await database.rows(tokens.union(select(family.resource).where(*standing)))
    return frozenset(row[0] for row in rows)


def _row(record: TokenRecord) -> NewRow:
    return NewRow(_INTO, _values_of(record))
