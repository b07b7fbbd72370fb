"""Serving one installation: its plane, its listeners and its control socket, from start to drained stop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from perhop.serving.listeners import AsgiApp, listening
from perhop.serving.ops import ops_app
from perhop.settings import Settings
from perhop.wiring.exports import RunningExport, exporting
from perhop.wiring.plane import Plane, open_plane
from perhop.wiring.traffic import Traffic, open_traffic


class ControlListener(Protocol):
    """Opens the control socket of a plane for as long as the returned block runs."""

    def __call__(self, plane: Plane) -> contextlib.AbstractAsyncContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class Serving:
    """An installation that takes traffic."""

    plane: Plane
    traffic: Traffic
    exports: tuple[RunningExport, ...]


def _apps(settings: Settings, plane: Plane, traffic: Traffic, exports: tuple[RunningExport, ...]) -> dict[str, AsgiApp]:
    apps: dict[str, AsgiApp] = {
        str(settings.listen.traffic): traffic.app,
        str(settings.listen.ops): ops_app(plane, traffic, exports),
    }
    if traffic.authz is not None:
        apps[str(settings.listen.authz)] = traffic.authz
    return apps


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, *, clock: Callable[[], float], control: ControlListener
) -> AsyncIterator[Serving]:
    """Serve while the block runs. Listeners close first, then the gates, then the journal.

    Raises: OperatorError, StorageUnavailable, JournalUnavailable
    """
    async with (
        open_plane(settings, clock=clock, record_start=True) as plane,
        open_traffic(plane) as traffic,
        control(plane),
        exporting(settings, plane.reader, origin=plane.journal_key.name) as exports,
        listening(
            _apps(settings, plane, traffic, exports),
            forwarded_from=[str(network) for network in settings.forwarded_from],
        ),
        traffic.working(),
    ):
        try:
            yield Serving(plane, traffic, exports)
        finally:
            # Readers of the feed wait for as long as they may, and have nothing to lose.
            plane.issuer.revoker.let_go()
