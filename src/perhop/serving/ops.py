"""The operations listener: has it come up, is it alive, may it take traffic, and what it counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from perhop.serving.gauges import Gauges
from perhop.serving.health import readiness, startup
from perhop.serving.stage import Course
from perhop.wiring.exports import RunningExport
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check import Figures
from perhop.wiring.traffic import Traffic
from perhop.wiring.webhooks import Webhooks


def ops_app(
    plane: Plane,
    traffic: Traffic,
    exports: Sequence[RunningExport],
    webhooks: Webhooks,
    figures: Figures,
    course: Course,
) -> Starlette:
    """`/startupz`, `/livez` and its other name `/healthz`, `/readyz`, and `/metrics`."""
    plane.metrics.registry.register(Gauges(plane, traffic, exports, webhooks, figures, course))

    async def startupz(_: Request) -> Response:
        return _answer(startup(traffic, course), "started")

    async def livez(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def readyz(_: Request) -> Response:
        return _answer(await readiness(plane, traffic, exports, webhooks, figures, course), "ready")

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(plane.metrics.registry), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})

    return Starlette(
        routes=[
            Route("/startupz", startupz),
            Route("/livez", livez),
            Route("/healthz", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def _answer(detail: dict[str, Any], verdict: str) -> Response:
    return JSONResponse(detail, status_code=200 if detail[verdict] else 503, headers={"cache-control": "no-store"})
