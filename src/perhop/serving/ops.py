"""The operations listener: has it come up, is it alive, may it take traffic, and what it counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from perhop.rules.issuer_uri import is_loopback
from perhop.serving.gauges import Gauges
from perhop.serving.health import readiness, startup
from perhop.serving.stage import Course
from perhop.wiring.exports import RunningExport
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check import Figures
from perhop.wiring.traffic import Traffic
from perhop.wiring.webhooks import Webhooks

_PORT = re.compile(r":[0-9]*\Z")


def ops_app(
    plane: Plane,
    traffic: Traffic,
    exports: Sequence[RunningExport],
    webhooks: Webhooks,
    figures: Figures,
    course: Course,
) -> ASGIApp:
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

    app = Starlette(
        routes=[
            Route("/startupz", startupz),
            Route("/livez", livez),
            Route("/healthz", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )
    app.router.redirect_slashes = False
    return _for_this_machine(app) if is_loopback(plane.settings.listen.ops.host) else app


def _for_this_machine(app: ASGIApp) -> ASGIApp:
    """The application, closed to what is sent to another host: to a page whose own name resolves to loopback.

    At any other address whoever probes may name it as they do: by an address of their network, or by a service's name.

    Spec: RFC 9110 §7.4
    """

    async def at_the_door(scope: Scope, receive: Receive, send: Send) -> None:
        # A browser always says which; of old probes some say nothing.
        hosts = Headers(scope=scope).getlist("host")
        is_ours = all(is_loopback(_PORT.sub("", each).lower()) for each in hosts)
        await (app if is_ours else PlainTextResponse("not a host of this machine", 421))(scope, receive, send)

    return at_the_door


def _answer(detail: dict[str, Any], verdict: str) -> Response:
    return JSONResponse(detail, status_code=200 if detail[verdict] else 503, headers={"cache-control": "no-store"})
