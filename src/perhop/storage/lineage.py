"""Lineage: tokens and their parents, wherever their records lie.

A token that left through the token endpoint mostly has a row in `perhop.db`. One that the gateway got in process has
the journal's permit, and one that a client got for itself may have the journal's record alone. A chain goes through
both files, so every step looks into both.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, or_, select

from perhop.authorization_server.store import TokenRecord
from perhop.errors import JournalDamaged, JournalUnavailable
from perhop.journal.query import JournaledToken
from perhop.rules.lifetime import ACCESS_LIFETIME, HOP_LIFETIME, MAX_SKEW
from perhop.storage.engine import Database
from perhop.storage.schema import token_record
from perhop.storage.token_records import RECORD_COLUMNS, RECORD_NAMES, read_token_record

_T = TypeVar("_T")

_AT_ONCE = 500
"""Ids in one query; far below what a statement of SQLite can carry."""

MOST_KEPT = 16_384
"""Tokens of which is kept what was found above them."""

_RECORD = f"SELECT {', '.join(RECORD_NAMES)} FROM {token_record.name} WHERE jti = ?"  # noqa: S608 - names of the schema


class Journaled(Protocol):
    """What is asked of the journal's reader; its verbs block, and may be called from any thread."""

    def token_by_jti(self, jti: str) -> JournaledToken | None: ...

    def children_of(self, jti: str) -> Sequence[JournaledToken]: ...

    def permitted_since(self, since: float) -> Iterator[JournaledToken]: ...

    def issued_since(self, since: float) -> Iterator[JournaledToken]: ...


@dataclass(frozen=True, slots=True)
class SqlLineage:
    """Lineage over the database and the journal alike.

    What was found above a token is kept: a record never changes, and those above a live token outlive it. A chain that
    ends at a token without a record is not kept, since nothing says that none will come.
    """

    database: Database
    journaled: Journaled
    _kept: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    async def audiences(self, jti: str) -> frozenset[str]:
        """Every audience from this token up to the first of its chain; empty for a token without a record.

        Raises: StorageUnavailable, JournalUnavailable
        """
        kept = self._kept.get(jti)
        if kept is not None:
            return kept
        audiences: set[str] = set()
        seen: set[str] = set()
        next_jti: str | None = jti
        while next_jti is not None and next_jti not in seen:
            seen.add(next_jti)
            record = await self._record(next_jti)
            if record is None:
                return frozenset(audiences)
            audiences.add(record.audience)
            if record.parent_audience is not None:
                audiences.add(record.parent_audience)
            next_jti = record.parent_jti
        found = frozenset(audiences)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[jti] = found
        return found

    async def descendants(self, jti: str, *, now: int) -> Sequence[TokenRecord]:
        """Every unexpired token that came from this one, at any depth, without this one.

        Expired ones are looked through: nothing but our own rule says that a child does not outlive its parent.

        Raises: StorageUnavailable, JournalUnavailable
        """
        found: dict[str, TokenRecord] = {}
        level = [jti]
        while level:
            children = await self._children(level)
            level = [each.jti for each in children if each.jti not in found and each.jti != jti]
            found |= {each.jti: each for each in children if each.jti != jti}
        return [record for record in found.values() if record.expires_at > now]

    async def live(self, kind: str, value: str, *, now: int) -> Sequence[TokenRecord]:
        """Unexpired tokens whose `kind` (jti, sub, agent, aud, tenant, family, task) is `value`.

        As in the revocation rule, a client's name covers the tokens of its chains and those that it presented.

        Raises: StorageUnavailable, JournalUnavailable
        """
        if kind not in _COLUMNS:
            return []
        statement = select(*RECORD_COLUMNS).where(_COLUMNS[kind](value), token_record.c.expires_at > now)
        found = {row.jti: read_token_record(row) for row in await self.database.rows(statement)}
        for record in await self._journaled(kind, value, now=now):
            if _is_named(record, kind, value):
                found.setdefault(record.jti, record)
        return list(found.values())

    async def _journaled(self, kind: str, value: str, *, now: int) -> Sequence[TokenRecord]:
        """Unexpired tokens without a row in the database: the one with this id, or all that there are."""
        if kind == "jti":
            one = await self._read(lambda: self.journaled.token_by_jti(value))
            return [_record(one)] if one is not None and one.expires_at > now else []
        permitted = await self._read(lambda: self._live_permits(now))
        return [*map(_record, permitted), *await self.live_in_journal(now=now)]

    async def live_in_journal(self, *, now: int) -> Sequence[TokenRecord]:
        """Unexpired tokens that were issued, and have no row in the database.

        Raises: JournalUnavailable
        """
        since = now - ACCESS_LIFETIME - MAX_SKEW
        issued = await self._read(lambda: list(self.journaled.issued_since(since)))
        return [_record(each) for each in issued if each.expires_at > now]

    async def _record(self, jti: str) -> TokenRecord | None:
        row = await self.database.read_shortly(lambda connection: connection.execute(_RECORD, (jti,)).fetchone())
        if row is not None:
            return TokenRecord(**dict(zip(RECORD_NAMES, row, strict=True)))
        journaled = await self._read(lambda: self.journaled.token_by_jti(jti))
        return None if journaled is None else _record(journaled)

    async def _children(self, parents: Sequence[str]) -> list[TokenRecord]:
        children: list[TokenRecord] = []
        for start in range(0, len(parents), _AT_ONCE):
            some = parents[start : start + _AT_ONCE]
            rows = await self.database.rows(select(*RECORD_COLUMNS).where(token_record.c.parent_jti.in_(some)))
            children.extend(read_token_record(row) for row in rows)
        permitted = await self._read(lambda: [each for jti in parents for each in self.journaled.children_of(jti)])
        return children + [_record(each) for each in permitted]

    def _live_permits(self, now: int) -> list[JournaledToken]:
        since = now - HOP_LIFETIME - MAX_SKEW
        return [each for each in self.journaled.permitted_since(since) if each.expires_at > now]

    async def _read(self, ask: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(ask)
        except (JournalDamaged, sqlite3.Error, OSError) as error:
            raise JournalUnavailable(f"the journal cannot be read: {error}") from error


_COLUMNS: dict[str, Callable[[str], ColumnElement[bool]]] = {
    "jti": lambda value: token_record.c.jti == value,
    "sub": lambda value: token_record.c.subject == value,
    "agent": lambda value: or_(token_record.c.agent == value, token_record.c.client_id == value),
    "aud": lambda value: token_record.c.audience == value,
    "tenant": lambda value: token_record.c.tenant == value,
    "family": lambda value: token_record.c.family == value,
    "task": lambda value: token_record.c.task == value,
}


def _is_named(record: TokenRecord, kind: str, value: str) -> bool:
    """The same rows as `_COLUMNS`, for a record that is not a row."""
    match kind:
        case "agent":
            return value in (record.agent, record.client_id)
        case "jti":
            return record.jti == value
        case "sub":
            return record.subject == value
        case "aud":
            return record.audience == value
        case "tenant":
            return record.tenant == value
        case "task":
            return record.task == value
        case _:
            return False


def _record(journaled: JournaledToken) -> TokenRecord:
    return TokenRecord(
        jti=journaled.jti,
        parent_jti=journaled.parent_jti,
        txn=journaled.txn,
        hop=journaled.hop,
        audience=journaled.audience,
        subject=journaled.subject,
        agent=journaled.agent,
        client_id=journaled.client_id,
        scope=journaled.scope,
        issued_at=journaled.issued_at,
        expires_at=journaled.expires_at,
        tenant=journaled.tenant,
        parent_audience=journaled.parent_audience,
        task=journaled.task,
    )
