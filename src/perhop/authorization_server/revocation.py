"""Revocation: take tokens back, descendants along, and tell everyone who holds a stream or polls the feed.

What a verifier does with a revocation is `rules.revocation`; the feed's wire format is `endpoints.revocations`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from perhop.authorization_server.store import Lineage, RevocationRow, RevocationRows, TokenRecord
from perhop.core.registry import Registry
from perhop.journal.record import Event, Record
from perhop.journal.writer import Journal
from perhop.rules.lifetime import MAX_LIFETIME, MAX_SKEW
from perhop.rules.revocation import Revocation, RevocationKind, Revocations, revocation_digest

Listener = Callable[[Sequence[Revocation]], None]
"""Called in the event loop with revocations that are already in force; must not block or raise."""


class RevokedObject(StrEnum):
    """What an operator names."""

    TOKEN = "token"
    AGENT = "agent"
    SUBJECT = "subject"
    RESOURCE = "resource"
    TENANT = "tenant"
    TASK = "task"
    FAMILY = "family"
    ALL = "all"


EVERYTHING = "everything"
"""The value of a revocation of `ALL`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What one revocation did: `jtis` are the live tokens that end by it, `families` the refresh families.

    Not among them is what earlier revocations had ended.
    """

    kind: RevokedObject
    value: str
    jtis: tuple[str, ...]
    families: tuple[str, ...] = ()

    @property
    def live(self) -> int:
        return len(self.jtis)


@dataclass(frozen=True, slots=True)
class _Row:
    kind: RevocationKind
    value: str
    not_before: int
    expires_at: int

    def written(self) -> tuple[str, str, int, int]:
        return self.kind.value, revocation_digest(self.value), self.not_before, self.expires_at


class Revoker:
    """Writes revocations and puts them in force: in the database, in memory, at every listener, in the journal.

    One object serves token endpoint, control commands and gateway of a process; `revocations` is shared with them.
    """

    def __init__(
        self,
        *,
        rows: RevocationRows,
        lineage: Lineage,
        journal: Journal,
        revocations: Revocations,
        registry: Callable[[], Registry],
        clock: Callable[[], float],
        built_in: Sequence[str] = (),
    ) -> None:
        self._rows = rows
        self._built_in = tuple(built_in)
        self._lineage = lineage
        self._journal = journal
        self._revocations = revocations
        self._registry = registry
        self._clock = clock
        self._listeners: list[Listener] = []
        self._grown = asyncio.Event()
        self._is_ending = False

    async def load(self) -> None:
        """Put in force what the database holds; before the first request."""
        self._take(await self._rows.after(0, now=self._now()))

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have every later revocation told to `listener`; returns the end of it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def grown(self, *, after: int, wait: float) -> None:
        """Return at once if there are revocations after `after`, else at the next one or when `wait` seconds end."""
        if self._revocations.seq > after or self._is_ending:
            return
        try:
            async with asyncio.timeout(wait):
                await self._grown.wait()
        except TimeoutError:
            return

    def let_go(self) -> None:
        """Answer everyone who waits, and let nobody wait any more: a process that stops would wait for them."""
        self._is_ending = True
        self._grown.set()

    async def revoke(
        self, kind: RevokedObject, value: str, *, why: str, by: str, keeps_families: bool = False
    ) -> Revoked:
        """Revoke every token that `value` names, refresh tokens too, and all that came from them.

        `value` is a token's `jti`, a client id, a `sub`, a resource's name or URI, a tenant, a task's or a refresh
        family's id, or EVERYTHING: then whatever the audience. Does not keep new tokens from being issued for a new
        consent: that is standing. `keeps_families` is for what a refresh looks at anyway, so that it gives less, and
        not nothing. In force when it returns, even if the journal then fails.

        Raises: StorageUnavailable, JournalUnavailable
        """
        revoked = await self._revoke(kind, value, why=why, by=by, keeps_families=keeps_families)
        assert revoked is not None, "only what must end something may come to nothing"
        return revoked

    async def end_family(self, family: str, *, why: str, by: str) -> Revoked | None:
        """Revoke a refresh family, unless it is over already: then None, and nothing is written.

        So whoever brings a spent token a thousand times fills neither feed nor journal with ends.

        Raises: StorageUnavailable, JournalUnavailable
        """
        return await self._revoke(RevokedObject.FAMILY, family, why=why, by=by, only_ending=True)

    async def _revoke(
        self,
        kind: RevokedObject,
        value: str,
        *,
        why: str,
        by: str,
        only_ending: bool = False,
        keeps_families: bool = False,
    ) -> Revoked | None:
        now = self._now()
        self._revocations.forget(now=now)
        before = self._revocations.copy()
        # INVARIANT: the named tokens are refused before their descendants are listed; an exchange records its token,
        # then looks at its parent again. So either the exchange sees this revocation, or the list below has the token.
        # Of a family likewise: it is ended with the first row, and records a token only while it is not.
        names = self._names(kind, value)
        rows = [_row(name_kind, name, now=now).written() for name_kind, name in names]
        ending = [] if keeps_families else _written(names)
        added, families = await self._rows.add_ending(rows, ending, now=now, only_ending=only_ending)
        if only_ending and not families:
            return None
        self._take(added)
        ended = await self._ended(names, now=now)
        await self._enforce([_token_row(record) for record in ended.values()])
        revoked = Revoked(kind=kind, value=value, jtis=_not_over(ended, before), families=tuple(families))
        await self._record(revoked, tokens=sorted(ended), why=why, by=by)
        return revoked

    def put_in_force(self, row: RevocationRow) -> None:
        """Go by a revocation that was written together with what it follows from, and tell everyone."""
        self._take([row])

    async def record_task_over(self, task: str, *, why: str, by: str) -> Revoked:
        """Record which live tokens ended with a task whose revocation is in force.

        What came from them names the same task, so one row of the feed covers it all.

        Raises: StorageUnavailable, JournalUnavailable
        """
        now, names = self._now(), self._names(RevokedObject.TASK, task)
        families = await self._rows.covered_families(_written(names), now=now)
        # The task's own revocation is in force already: what it ended cannot be told from what was over before.
        tokens = sorted(await self._ended(names, now=now))
        revoked = Revoked(kind=RevokedObject.TASK, value=task, jtis=tuple(tokens), families=tuple(families))
        await self._record(revoked, tokens=tokens, why=why, by=by)
        return revoked

    async def _record(self, revoked: Revoked, *, tokens: Sequence[str], why: str, by: str) -> None:
        """`tokens` are all that it covers, so that nobody has to look for an earlier record, which may be missing."""
        # `feed` is the number up to which the database knows revocations: one that has forgotten them is found by it.
        feed = self._revocations.seq
        about: dict[str, Any] = {"kind": revoked.kind.value, "value": revoked.value, "why": why, "by": by, "feed": feed}
        if revoked.families:
            about["families"] = list(revoked.families)
        await self._journal.append(
            Record(event=Event.REVOCATION, reason="token.revoked", about={**about, "tokens": list(tokens)})
        )

    async def preview(self, kind: RevokedObject, value: str) -> Revoked:
        """What `revoke` would end now, without doing it. Not counted: what is issued between this and the deed.

        Raises: StorageUnavailable, JournalUnavailable
        """
        now, names = self._now(), self._names(kind, value)
        families = await self._rows.covered_families(_written(names), now=now)
        ended = await self._ended(names, now=now)
        return Revoked(kind=kind, value=value, jtis=_not_over(ended, self._revocations), families=tuple(families))

    def _names(self, kind: RevokedObject, value: str) -> list[tuple[RevocationKind, str]]:
        match kind:
            case RevokedObject.TOKEN:
                return [(RevocationKind.TOKEN, value)]
            case RevokedObject.AGENT:
                return [(RevocationKind.AGENT, value)]
            case RevokedObject.SUBJECT:
                return [(RevocationKind.SUBJECT, value)]
            case RevokedObject.TENANT:
                return [(RevocationKind.TENANT, value)]
            case RevokedObject.TASK:
                return [(RevocationKind.TASK, value)]
            case RevokedObject.FAMILY:
                return [(RevocationKind.FAMILY, value)]
            case RevokedObject.ALL:
                resources = self._registry().resources.values()
                audiences = (*(uri for each in resources for uri in (each.uri, each.server_uri)), *self._built_in)
                return [(RevocationKind.RESOURCE, each) for each in dict.fromkeys(audiences)]
            case RevokedObject.RESOURCE:
                registry = self._registry()
                resource = (
                    registry.resources.get(value) or registry.resource_at(value) or registry.resource_served_at(value)
                )
                uris = [value] if resource is None else list(dict.fromkeys((resource.uri, resource.server_uri)))
                return [(RevocationKind.RESOURCE, uri) for uri in uris]

    async def _ended(self, names: Sequence[tuple[RevocationKind, str]], *, now: int) -> dict[str, TokenRecord]:
        """Live tokens that the names cover, and their live descendants, by `jti`."""
        ended: dict[str, TokenRecord] = {}
        for kind, value in names:
            if kind is RevocationKind.TOKEN:
                ended.update({each.jti: each for each in await self._lineage.descendants(value, now=now)})
            for record in await self._lineage.live(kind.value, value, now=now):
                ended[record.jti] = record
                ended.update({each.jti: each for each in await self._lineage.descendants(record.jti, now=now)})
        return ended

    async def _enforce(self, rows: Sequence[_Row]) -> None:
        if rows:
            self._take(await self._rows.add([row.written() for row in rows]))

    def _take(self, rows: Sequence[RevocationRow]) -> None:
        taken = [
            Revocation(row.seq, RevocationKind(row.kind), row.digest, row.not_before, row.expires_at) for row in rows
        ]
        for revocation in taken:
            self._revocations.add(revocation)
        if not taken:
            return
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        for listener in tuple(self._listeners):
            listener(taken)

    def _now(self) -> int:
        return int(self._clock())


def for_good(now: int) -> tuple[int, int]:
    """(not_before, expires_at) of a revocation of what can never be issued again: every `iat` is refused."""
    last = now + MAX_LIFETIME + 2 * MAX_SKEW
    return last, last


def is_over(record: TokenRecord, revocations: Revocations) -> bool:
    """True if one of these revocations names the token of this record, whether it has expired or not."""
    named = (
        (RevocationKind.TOKEN, record.jti),
        (RevocationKind.SUBJECT, record.subject),
        (RevocationKind.AGENT, record.agent),
        (RevocationKind.AGENT, record.client_id),
        (RevocationKind.RESOURCE, record.audience),
        (RevocationKind.TENANT, record.tenant),
        (RevocationKind.TASK, record.task),
    )
    return any(
        value is not None and revocations.covers(kind, value, issued_at=record.issued_at) for kind, value in named
    )


def _not_over(ended: Mapping[str, TokenRecord], revocations: Revocations) -> tuple[str, ...]:
    return tuple(sorted(jti for jti, record in ended.items() if not is_over(record, revocations)))


def _written(names: Sequence[tuple[RevocationKind, str]]) -> list[tuple[str, str]]:
    return [(kind.value, value) for kind, value in names]


def _row(kind: RevocationKind, value: str, *, now: int) -> _Row:
    """Of a token or a refresh family every `iat` is refused; of anything else what was issued until now."""
    not_before, last = for_good(now)
    is_for_good = kind in (RevocationKind.TOKEN, RevocationKind.FAMILY)
    return _Row(kind, value, not_before if is_for_good else now, last)


def _token_row(record: TokenRecord) -> _Row:
    return _Row(RevocationKind.TOKEN, record.jti, record.expires_at, record.expires_at + MAX_SKEW)
