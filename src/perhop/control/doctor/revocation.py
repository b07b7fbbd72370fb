"""The check of the revocation bound: what we promise, and what the running server has last measured of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from perhop.control.doctor.finding import Seen, failed, ok, skipped, warning
from perhop.control.doctor.patient import Patient
from perhop.resource_server.revocation_feed import MAX_AGE
from perhop.rules.lifetime import ACCESS_LIFETIME
from perhop.rules.revocation import BOUND_SECONDS
from perhop.wiring.revocation_check import Place

ROUNDS_MISSED = 3
"""So many intervals without a check mean that there are none any more."""

_PROMISE = (
    f"token endpoint, gateway, open streams and guards whose feed is up: {BOUND_SECONDS} s; a guard cut off: "
    f"{MAX_AGE} s for high risk, else until a token's expiry ({ACCESS_LIFETIME} s)"
)
_LOOK = "see the log of `perhop serve`"
_FIX = {
    Place.TOKEN_ENDPOINT: f"{_LOOK}: the database or this machine is slow",
    Place.GATEWAY: f"{_LOOK}: the database or this machine is slow",
    Place.STREAM: f"{_LOOK}: the database or this machine is slow",
    Place.GUARD: "whatever stands before the issuer must pass `/revocations` on, neither cached nor held back",
}


async def bound(patient: Patient) -> list[Seen]:
    """How long a revoked token may still be taken, and what the running server has measured of that, place by place."""
    if patient.readiness is None:
        return [ok(f"{_PROMISE}; what it takes is not known: perhop does not serve here")]
    told = patient.readiness.get("revocation")
    if not isinstance(told, dict):
        where = f"http://{patient.settings.listen.ops}/readyz"
        return [warning(f"{_PROMISE}; what it takes is not known: {where} does not say", "see `listen.ops`")]
    return [_last_check(told, patient.now), *_places(told)]


def _last_check(told: Mapping[str, Any], now: float) -> Seen:
    """Whether there are checks at all, and whether the last one could be made."""
    ended_at, every = told["ended_at"], told["every"]
    age = now - _seconds(ended_at or told["began_at"])
    if age > ROUNDS_MISSED * every:
        return failed(f"{_PROMISE}; last checked {age:.0f} s ago, though it should be every {every:.0f} s", _LOOK)
    if told["problem"]:
        return failed(f"{_PROMISE}; the last check failed: {told['problem']}", _LOOK)
    if ended_at is None:
        return ok(f"{_PROMISE}; the first check has not ended yet")
    return ok(f"{_PROMISE}; last checked {max(age, 0):.0f} s ago")


def _places(told: Mapping[str, Any]) -> Iterator[Seen]:
    for place in Place:
        if (found := told["places"].get(place.value)) is not None:
            yield _place(place, found)


def _place(place: Place, found: Mapping[str, Any]) -> Seen:
    if found["failed"]:
        return failed(found["failed"], _FIX[place], part=place.value)
    if found["not_measured"]:
        return skipped(f"not measured: {found['not_measured']}", part=place.value)
    took = f"a revocation was in force after {found['seconds']:.3f} s"
    if found["seconds"] > BOUND_SECONDS:
        return failed(f"{took}, which is above {BOUND_SECONDS} s", _FIX[place], part=place.value)
    return ok(took, part=place.value)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
