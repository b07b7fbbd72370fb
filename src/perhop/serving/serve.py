"""Serving one installation: its plane, its listeners and its control socket, from start to drained stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from perhop.authorization_server.newcomers.guarded_fetch import Resolve, resolve_by_system
from perhop.serving.listeners import AsgiApp, listening
from perhop.serving.open_files import room_for_connections
from perhop.serving.ops import ops_app
from perhop.serving.stage import Course
from perhop.settings import Settings
from perhop.wiring.console import console_app
from perhop.wiring.exports import RunningExport, exporting
from perhop.wiring.metrics import noting_arrival
from perhop.wiring.opening import open_plane
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check import RevocationCheck, Rounds
from perhop.wiring.traffic import Traffic, open_traffic
from perhop.wiring.webhooks import Webhooks, telling

LAST_WORDS_SECONDS = 1
"""From the end of the time to drain, when answers are cut, until what has not ended then is cancelled."""

OPS_SECONDS = 1
"""Whoever reads health and metrics is not waited for."""

CONSOLE_SECONDS = 1
"""A page is quick, or is asked for again."""


class ControlListener(Protocol):
    """Opens the control socket of a plane for as long as the returned block runs."""

    def __call__(self, plane: Plane) -> contextlib.AbstractAsyncContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class Serving:
    """An installation that takes traffic."""

    plane: Plane
    traffic: Traffic
    exports: tuple[RunningExport, ...]
    webhooks: Webhooks
    revocation_check: RevocationCheck


def _apps(settings: Settings, traffic: Traffic) -> dict[str, AsgiApp]:
    """What begins calls, and so is drained."""
    apps: dict[str, AsgiApp] = {str(settings.listen.traffic): noting_arrival(traffic.app)}
    if traffic.authz is not None:
        apps[str(settings.listen.authz)] = noting_arrival(traffic.authz)
    return apps


@contextlib.asynccontextmanager
async def serving(
    settings: Settings,
    *,
    clock: Callable[[], float],
    control: ControlListener,
    rounds: Rounds = Rounds(),
    resolve: Resolve = resolve_by_system,
) -> AsyncIterator[Serving]:
    """Serve while the block runs. The traffic listener closes first, then the console, health, gates, and the journal.

    `rounds` says when the revocation bound is checked, `resolve` finds the hosts of clients' documents.

    Raises: OperatorError, StorageUnavailable, JournalUnavailable
    """
    course, room = Course(), room_for_connections()
    async with (
        open_plane(settings, clock=clock, record_start=True, resolve=resolve) as plane,
        open_traffic(plane) as traffic,
        exporting(settings, plane.reader, origin=plane.journal_key.name) as exports,
        telling(plane) as webhooks,
        contextlib.nullcontext(RevocationCheck(plane, traffic, rounds)) as check,
        listening(
            {str(settings.listen.ops): ops_app(plane, traffic, exports, webhooks, check.figures, course)},
            drain=OPS_SECONDS,
            connections=room,
        ),
        control(plane),
        listening(
            {str(settings.listen.console): console_app(plane)},
            forwarded_from=[str(network) for network in settings.forwarded_from],
            drain=CONSOLE_SECONDS,
            connections=room,
        ),
        listening(
            _apps(settings, traffic),
            forwarded_from=[str(network) for network in settings.forwarded_from],
            drain=settings.drain + LAST_WORDS_SECONDS,
            connections=room,
        ),
        traffic.working(),
        check.working(),
    ):
        course.begin()
        try:
            yield Serving(plane, traffic, exports, webhooks, check)
        finally:
            course.stop()  # readiness says it first
            # Readers of the feed wait for as long as they may, and have nothing to lose.
            plane.issuer.revoker.let_go()
            asyncio.get_running_loop().call_later(settings.drain, traffic.stop_all)
