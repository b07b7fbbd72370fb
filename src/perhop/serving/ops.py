"""The operations listener: is the process alive, and may it take traffic.

Liveness never depends on anything; readiness says what is wrong, part by part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from perhop.errors import StorageUnavailable
from perhop.wiring.exports import RunningExport
from perhop.wiring.plane import Plane
from perhop.wiring.traffic import Traffic


def ops_app(plane: Plane, traffic: Traffic, exports: Sequence[RunningExport]) -> Starlette:
    """`/livez` and `/readyz`."""

    async def livez(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def readyz(_: Request) -> Response:
        detail = await readiness(plane, traffic, exports)
        return JSONResponse(detail, status_code=200 if detail["ready"] else 503)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])


async def readiness(plane: Plane, traffic: Traffic, exports: Sequence[RunningExport]) -> dict[str, Any]:
    """Every part that traffic needs. An upstream that is not ready closes its own resource, not the process."""
    journal = plane.journal.status()
    database = await _database_problem(plane)
    return {
        "ready": journal.healthy and not database,
        "journal": {"ok": journal.healthy, "records": journal.size, "problem": journal.problem},
        "database": {"ok": not database, "problem": database},
        "signing_key": plane.issuer.keyring.active.kid,
        "policy_version": plane.policy.version,
        "config_version": plane.registry.version,
        "exports": {each.name: {"waiting": each.waiting, "problem": each.problem} for each in exports},
        "upstreams": traffic.verdicts(),
        "unsafe": list(plane.settings.unsafe()),
    }


async def _database_problem(plane: Plane) -> str:
    try:
        await plane.stores.standings.disabled()
    except StorageUnavailable as error:
        return error.detail
    return ""
