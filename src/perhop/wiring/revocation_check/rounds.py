"""The rounds of the check: get a token, see it taken, revoke it, see it refused, note the times; again and again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import httpx2

from perhop.authorization_server.revocation_canary import issue_revocation_canary, revoke_revocation_canary
from perhop.core.token import MintedToken
from perhop.errors import PerhopError
from perhop.wiring.beside import beside, new_http
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check.figures import Failed, Figures, Measured, NotMeasured, Outcome, Place, Result, Round
from perhop.wiring.revocation_check.places import Asked, open_places
from perhop.wiring.traffic import Traffic

_log = logging.getLogger("perhop.revocation_check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """When rounds are made, in seconds. `soon` is the first pause after one that left something open: an issuer may
    be reached a moment later; each further one is twice as long, until it is `every`.

    `patience` is for a place to take the token, and again for it to refuse it.
    """

    every: float = 300.0
    soon: float = 15.0
    patience: float = 10.0


class RevocationCheck:
    """The check of one running server. `timer` gives seconds of which only differences mean anything."""

    def __init__(
        self, plane: Plane, traffic: Traffic, rounds: Rounds, *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._plane = plane
        self._traffic = traffic
        self._rounds = rounds
        self._timer = timer
        self.figures = Figures(every=rounds.every, began_at=plane.issuer.clock())

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Make rounds while the block runs. Begins once the listener is up: the guard asks it for keys and feed."""
        async with beside(self._keep_running()):
            yield

    async def _keep_running(self) -> NoReturn:
        async with await new_http() as http:
            pause = self._rounds.soon
            while True:
                found = await self.run(http)
                await asyncio.sleep(self._rounds.every if found.is_whole else pause)
                pause = self._rounds.soon if found.is_whole else min(2 * pause, self._rounds.every)

    async def run(self, http: httpx2.AsyncClient) -> Round:
        """Make one round and note what it found. Never raises for what it finds or cannot find out."""
        try:
            outcomes, problem = await self._measure(http)
        except Exception as fault:  # whatever it is, nothing was shown
            _log.exception("the check of the revocation bound broke off")
            outcomes, problem = {}, f"it broke off: {type(fault).__name__}"
        found = Round(ended_at=self._plane.issuer.clock(), outcomes=outcomes, problem=problem)
        self.figures.note(found)
        if found.result is not Result.OK:
            _log.error("a revocation was not seen in force everywhere in time: %s", _in_words(found))
        return found

    async def _measure(self, http: httpx2.AsyncClient) -> tuple[Mapping[Place, Outcome], str]:
        """Issue -> show it everywhere -> revoke -> ask everywhere until it is refused.

        A place that did not take the token has nothing to show, and the others are measured all the same.
        """
        try:
            async with asyncio.timeout(self._rounds.patience):
                token = await issue_revocation_canary(self._plane.current_issuer())
        except PerhopError as failure:
            return {}, f"no token was got to revoke: {failure}"
        except TimeoutError:
            return {}, f"no token was got to revoke within {self._rounds.patience:g} s"
        async with open_places(token, self._plane, self._traffic, http) as places:
            unfit = await self._not_taking(places)
            fit = [place for place in places if place not in unfit]
            began = self._timer()
            asking = asyncio.gather(*(self._until_refused(places[place], began) for place in fit))
            problem, seen = await asyncio.gather(self._revoke(token), asking)
        found: dict[Place, Outcome] = {**unfit, **dict(zip(fit, seen, strict=True))}
        return {place: found[place] for place in Place}, problem

    async def _not_taking(self, places: Mapping[Place, Asked]) -> dict[Place, NotMeasured | Failed]:
        answers = await asyncio.gather(*(self._first_answer(asked) for asked in places.values()))
        return {place: answer for place, answer in zip(places, answers, strict=True) if answer is not None}

    async def _first_answer(self, asked: Asked) -> NotMeasured | Failed | None:
        try:
            async with asyncio.timeout(self._rounds.patience):
                return await asked.takes()
        except TimeoutError:
            return Failed(f"it did not answer within {self._rounds.patience:g} s")

    async def _until_refused(self, asked: Asked, began: float) -> Measured | Failed:
        try:
            async with asyncio.timeout(self._rounds.patience):
                wrong = await asked.refuses()
        except TimeoutError:
            return Failed(f"it still took the token {self._rounds.patience:g} s after that was revoked")
        return Measured(self._timer() - began) if wrong is None else wrong

    async def _revoke(self, token: MintedToken) -> str:
        """Revoke the token; what went wrong, in words. It may be in force even so: then the figures show it."""
        try:
            await revoke_revocation_canary(token, self._plane.current_issuer())
        except PerhopError as failure:
            return f"the revocation failed: {failure}"
        return ""


def _in_words(found: Round) -> str:
    said = [found.problem] if found.problem else []
    for place, outcome in found.outcomes.items():
        match outcome:
            case Failed():
                said.append(f"{place.value}: {outcome.why}")
            case Measured(is_late=True):
                said.append(f"{place.value}: after {outcome.seconds:.1f} s")
            case _:
                pass
    return "; ".join(said)
