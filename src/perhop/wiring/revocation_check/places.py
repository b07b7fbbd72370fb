"""The places where the check shows its token: each by the very steps that a request of anybody goes through there.

A token that is good nowhere gets no further than these steps, and nothing is done for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlencode

import httpx2

from perhop.authorization_server.form import parse_form
from perhop.authorization_server.grants.token_exchange import check_subject_token, verify_subject_token
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.trail import reason_of
from perhop.client.discovery import METADATA_SECONDS, discover
from perhop.client.fetch import why_unreachable
from perhop.core.resource import Risk
from perhop.core.token import MintedToken
from perhop.errors import IssuerUnavailable, Refused, TokenRevoked, Unavailable
from perhop.gateway.answer import Piece
from perhop.gateway.revocation_watch import RevocationWatch
from perhop.gateway.sse import comment
from perhop.gateway.streams import CUT, Ending, cut
from perhop.resource_server import Admitted, Guard
from perhop.rules.audience import bind_audience
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check.figures import Failed, NotMeasured, Place
from perhop.wiring.traffic import Traffic

ASK_AGAIN_SECONDS = 0.02
"""How exact a figure is."""

_OPENED = Piece(comment("open"))


class Asked(Protocol):
    """One place, for one token."""

    async def takes(self) -> NotMeasured | Failed | None:
        """None if it takes the token."""
        ...

    async def refuses(self) -> Failed | None:
        """Return when it refuses the token: None if it says that the token is revoked."""
        ...


@contextlib.asynccontextmanager
async def open_places(
    token: MintedToken, plane: Plane, traffic: Traffic, http: httpx2.AsyncClient
) -> AsyncIterator[Mapping[Place, Asked]]:
    """Every place; what they keep open is closed at the end."""
    issuer, watch = plane.current_issuer(), traffic.new_watch()
    async with _open_stream(token, plane, traffic.new_watch()) as stream, _guarded(token, issuer, http) as guard:
        yield {
            Place.TOKEN_ENDPOINT: _Asking(lambda: _at_token_endpoint(token, plane.current_issuer())),
            Place.GATEWAY: _Asking(lambda: _at_gateway(token, plane, watch)),
            Place.STREAM: stream,
            Place.GUARD: guard,
        }


class _Asking:
    """A place that answers at once: None, or the reason of its refusal."""

    def __init__(self, ask: Callable[[], Awaitable[str | None]]) -> None:
        self._ask = ask

    async def takes(self) -> NotMeasured | Failed | None:
        return _not_taken(await self._ask())

    async def refuses(self) -> Failed | None:
        while True:
            if (reason := await self._ask()) is not None:
                return _not_for_revocation(reason)
            await asyncio.sleep(ASK_AGAIN_SECONDS)


async def _at_token_endpoint(token: MintedToken, issuer: Issuer) -> str | None:
    """What an exchange looks at before it asks who presents the token: which nobody could, for this one."""
    form = parse_form(urlencode({"subject_token": token.raw.reveal()}).encode())
    try:
        check_subject_token(verify_subject_token(form, issuer, now=issuer.now()), issuer, key=None)
    except (Refused, Unavailable) as fact:
        return reason_of(fact)
    return None


async def _at_gateway(token: MintedToken, plane: Plane, watch: RevocationWatch) -> str | None:
    """Authenticate, bind, look whether it is revoked: as a gate does, had it this audience."""
    try:
        watch.check(bind_audience(plane.verify_here(token.raw.reveal()), token.draft.audience))
    except (Refused, Unavailable) as fact:
        return fact.reason
    return None


class _Stream:
    """A standing stream, opened with the token, on which nothing is ever said; read to its last words."""

    def __init__(self, pieces: AsyncIterator[Piece], last: list[Refused | Unavailable]) -> None:
        self._pieces = pieces
        self._last = last

    async def takes(self) -> NotMeasured | Failed | None:
        first = await anext(self._pieces)
        return None if first is _OPENED else _not_taken(self._reason())

    async def refuses(self) -> Failed | None:
        async for _ in self._pieces:
            pass
        return _not_for_revocation(self._reason())

    def _reason(self) -> str:
        return self._last[-1].reason if self._last else "it ended by itself"


@contextlib.asynccontextmanager
async def _open_stream(token: MintedToken, plane: Plane, watch: RevocationWatch) -> AsyncIterator[_Stream]:
    """Open it; what cuts it, and what passes its pieces on, is what every stream of the gateway has."""
    last: list[Refused | Unavailable] = []

    def last_words(fact: Refused | Unavailable) -> Piece:
        last.append(fact)
        return Piece(comment(fact.reason), CUT)

    issuer = plane.current_issuer()
    bound = bind_audience(plane.verify_here(token.raw.reveal()), token.draft.audience)
    ending = Ending(bound, watch, standing=True, until=bound.expires_at, clock=issuer.clock)
    try:
        yield _Stream(cut(_opened_and_silent(), ending, last_words), last)
    finally:
        ending.stop()


async def _opened_and_silent() -> AsyncIterator[Piece]:
    yield _OPENED
    await asyncio.Event().wait()


class _AtGuard:
    """A guard as servers have it, for this audience alone, that follows the feed at the issuer's own URL."""

    def __init__(self, guard: Guard, token: MintedToken, issuer: str, http: httpx2.AsyncClient) -> None:
        self._asking = _Asking(self._ask)
        self._guard = guard
        self._headers = (("authorization", f"Bearer {token.raw.reveal()}"),)
        self._issuer = issuer
        self._http = http

    async def takes(self) -> NotMeasured | Failed | None:
        try:
            await discover(self._http, self._issuer)
        except IssuerUnavailable as failure:
            why = why_unreachable(failure, seconds=METADATA_SECONDS)
            return NotMeasured(f"{self._issuer} is not reached from this process: {why}")
        return await self._asking.takes()

    async def refuses(self) -> Failed | None:
        return await self._asking.refuses()

    async def _ask(self) -> str | None:
        outcome = await self._guard.check_token(self._headers)
        if isinstance(outcome, Admitted):
            return None
        # A guard of high risk takes nothing while its feed is not fresh, or the keys are not to be had.
        return "it gets no fresh revocation feed from the issuer" if outcome.status == 503 else outcome.reason


class _QuietGuard(Guard):
    """One whose refusals are what is looked for, and no news to whoever reads the log."""

    def _tell(self, fact: Refused | Unavailable) -> None:
        pass


@contextlib.asynccontextmanager
async def _guarded(token: MintedToken, issuer: Issuer, http: httpx2.AsyncClient) -> AsyncIterator[_AtGuard]:
    guard = _QuietGuard(
        resource=token.draft.audience, issuers=[issuer.url], risk=Risk.HIGH, http=http, clock=issuer.clock
    )
    try:
        yield _AtGuard(guard, token, issuer.url, http)
    finally:
        await guard.aclose()


def _not_taken(reason: str | None) -> Failed | None:
    return None if reason is None else Failed(f"it did not take the token before that was revoked: {reason}")


def _not_for_revocation(reason: str) -> Failed | None:
    return None if reason == TokenRevoked.reason else Failed(f"it refused the token, but not as revoked: {reason}")
