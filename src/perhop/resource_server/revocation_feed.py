"""An issuer's revocation feed, followed in the background: which of its tokens are refused before they expire.

The feed is signed under the issuer's keys. How old it is, is told from the time that the issuer signed, so that
neither a cache nor a silent connection passes for an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from perhop.client.connections import Connections
from perhop.client.fetch import fetch
from perhop.client.single_flight import SingleFlight
from perhop.core.token import VerifiedToken
from perhop.errors import IssuerUnavailable, KeysUnavailable, PerhopError, TokenKeyUnknown
from perhop.resource_server.trusted_issuer import TrustedIssuer
from perhop.rules.lifetime import MAX_SKEW
from perhop.rules.revocation import Revocation, RevocationKind, Revocations
from perhop.tokens.statement import MAX_STATEMENT_BYTES, read_statement

MAX_AGE = 10
"""A feed whose last statement was signed longer ago than this is stale."""
WAIT_SECONDS = 5
"""How long the issuer may hold a poll: well below MAX_AGE, so that a quiet feed is a fresh one."""
ANSWER_SECONDS = 5.0
STATEMENT_TYPE = "revocations+jwt"
FIRST_PAUSE, LAST_PAUSE = 0.25, 5.0
SHORTEST_ROUND = 0.5

_log = logging.getLogger("perhop.resource_server")


class RevocationFeed:
    """What one issuer has revoked, as far as we have heard. Follows the feed from the first use on."""

    def __init__(self, issuer: TrustedIssuer, *, connections: Connections, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._connections = connections
        self._clock = clock
        self._revocations = Revocations()
        self._taken = 0
        self._seq = 0
        self._signed_at: float | None = None
        self._forgotten = 0
        self._answered = False
        self._complaint: str | None = None
        self._loading = SingleFlight(self._load)
        self._last_follower: asyncio.Task[None] | None = None
        self._following: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    @property
    def is_fresh(self) -> bool:
        """True while the last statement is not older than MAX_AGE, nor from far ahead of a clock that was set back."""
        return self._signed_at is not None and abs(self._clock() - self._signed_at) <= MAX_AGE

    def start(self) -> None:
        """Follow the feed on the running event loop, if that is not done yet."""
        loop, last = asyncio.get_running_loop(), self._last_follower
        if last is not None and not last.done() and last.get_loop() is loop:
            return
        task = self._following.get(loop)
        if task is None or task.done():
            task = self._following[loop] = loop.create_task(self._follow())
        self._last_follower = task

    async def aclose(self) -> None:
        """Stop following on the running event loop."""
        task = self._following.pop(asyncio.get_running_loop(), None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._loading.aclose()

    def heard(self) -> int | None:
        """Follow the feed; how many revocations it has told, once it has answered or one attempt to read it has failed.

        While the number stays, a token that passed `check` after it was read would pass again.
        """
        self.start()
        return self._taken if self._answered else None

    async def hear(self) -> int:
        """Wait for one attempt to read the feed; the same number."""
        await self._loading.join()
        return self._taken

    def check(self, token: VerifiedToken, *, must_be_fresh: bool) -> None:
        """Refuse a token that is revoked; with `must_be_fresh`, any token while the feed is stale.

        Knows what was heard: where nothing was yet (`heard`), the caller waits first (`hear`).

        Raises: TokenRevoked, KeysUnavailable
        """
        self._revocations.check(token)
        if must_be_fresh and not self.is_fresh:
            raise KeysUnavailable(f"the revocation feed of `{self._issuer.issuer}` is stale")

    async def _load(self) -> None:
        """The first answer, or the first failure: whoever comes later does not wait again."""
        await self._has_caught_up(wait=0)
        self._answered = True

    async def _follow(self) -> None:
        pause = FIRST_PAUSE
        if not self._answered:
            await self._loading.join()
        while True:
            began = asyncio.get_running_loop().time()
            if await self._has_caught_up(wait=WAIT_SECONDS if self.is_fresh else 0):
                pause = FIRST_PAUSE
                # An issuer that does not hold polls is asked twice a second, not in a busy loop.
                await asyncio.sleep(max(0.0, began + SHORTEST_ROUND - asyncio.get_running_loop().time()))
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)

    async def _has_caught_up(self, *, wait: int) -> bool:
        """Poll, and go on without waiting until an answer holds nothing new."""
        try:
            while await self._poll(wait):
                wait = 0
        except PerhopError as error:
            self._complain(str(error))
            return False
        self._complaint = None
        return True

    def _complain(self, problem: str) -> None:
        """Say once what is wrong, and again only when it is something else: polls go on every few seconds."""
        if problem != self._complaint:
            _log.warning("revocation feed of %s: %a", self._issuer.issuer, problem)
        self._complaint = problem

    async def _poll(self, wait: int) -> bool:
        endpoint = (await self._issuer.metadata()).revocations_endpoint
        if endpoint is None:
            raise IssuerUnavailable("the issuer publishes no revocation feed")
        http = self._connections.http()
        request = http.build_request("GET", endpoint, params={"after": str(self._seq), "wait": str(wait)})
        answer = await fetch(http, request, max_bytes=MAX_STATEMENT_BYTES, seconds=wait + ANSWER_SECONDS)
        if answer.status != 200:
            raise IssuerUnavailable(f"{endpoint}: HTTP {answer.status}")
        return self._take(await self._read(answer.body))

    async def _read(self, body: bytes) -> Mapping[str, Any]:
        raw = body.decode("ascii", "replace")
        try:
            return read_statement(raw, typ=STATEMENT_TYPE, keys=await self._issuer.keys())
        except TokenKeyUnknown:
            return read_statement(raw, typ=STATEMENT_TYPE, keys=await self._issuer.keys_newly_signed_with())

    def _take(self, statement: Mapping[str, Any]) -> bool:
        """Take a statement in, whole or not at all. True if it held anything: then there may be more."""
        signed_at, after, last = (_whole(statement, name) for name in ("iat", "after", "next"))
        now = self._clock()
        # An issuer whose numbers began anew answers from 0; what it revoked before stays revoked here.
        if statement.get("iss") != self._issuer.issuer or after not in (self._seq, 0) or signed_at > now + MAX_SKEW:
            raise KeysUnavailable("the statement is not this issuer's answer to this question")
        entries = [_parse_entry(entry) for entry in _entries(statement)]
        if last < after or (entries and last == after):
            raise KeysUnavailable(f"the feed does not go on: after {after}, next {last}")
        # A time that our clock and the issuer's both have reached: one that is ahead alone lets nothing be forgotten.
        reached = min(int(now), signed_at)
        if reached < self._forgotten:
            self._begin_anew()
            raise KeysUnavailable("a clock went back, and the feed begins anew")
        for entry in entries:
            self._revocations.add(entry)
            # INVARIANT: counted after it is in force, and whoever keeps what passed reads the count before the check.
            self._taken += 1
        self._forgotten = max(self._forgotten, reached - MAX_SKEW)
        self._revocations.forget(now=self._forgotten)
        self._seq = last
        if not entries:
            # A time that we have not reached again since our clock was set back says nothing.
            before = self._signed_at if self._signed_at is not None and self._signed_at <= now else 0
            self._signed_at = max(before, min(signed_at, now))
        return bool(entries)

    def _begin_anew(self) -> None:
        """What was forgotten may be needed again: ask for everything, as if nothing had been heard. Stale until it has
        come; what is known stays in force."""
        self._seq, self._signed_at, self._forgotten = 0, None, 0


def _entries(statement: Mapping[str, Any]) -> list[Any]:
    entries = statement.get("entries")
    if not isinstance(entries, list):
        raise KeysUnavailable("the statement has no list `entries`")
    return entries


def _parse_entry(entry: Any) -> Revocation:
    """An entry that is not understood makes the feed stale, since it may revoke anything."""
    if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
        raise KeysUnavailable("an entry of the statement is malformed")
    try:
        kind = RevocationKind(str(entry.get("kind")))
    except ValueError as error:
        raise KeysUnavailable(f"an entry of the statement is of kind {entry.get('kind')!a}") from error
    return Revocation(
        seq=_whole(entry, "seq"),
        kind=kind,
        digest=entry["digest"],
        not_before=_whole(entry, "not_before"),
        expires_at=_whole(entry, "exp"),
    )


def _whole(members: Mapping[str, Any], name: str) -> int:
    value = members.get(name)
    if type(value) is not int or value < 0:
        raise KeysUnavailable(f"`{name}` of the statement is not a whole number")
    return value
