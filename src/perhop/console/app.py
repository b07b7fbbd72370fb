"""The console's pages, as a table, and the one edge at which nothing unforeseen gets out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perhop.authorization_server.endpoints.render import render_internal_error
from perhop.authorization_server.federation.round_trip import CALLBACK_PATH
from perhop.console.console import Console, CurrentConsole
from perhop.console.pages.approval import approval
from perhop.console.pages.approvals import approvals, home
from perhop.console.pages.refused import refused
from perhop.console.pages.sign_in import sign_in
from perhop.console.pages.sign_in_callback import sign_in_callback
from perhop.console.pages.sign_out import sign_out
from perhop.errors import HttpMethodNotAllowed, PageMissing, Refused, Unavailable

Page = Callable[[Request, Console], Awaitable[Response]]

PAGES: Sequence[tuple[str, Page, Sequence[str]]] = (
    ("/", home, ("GET",)),
    ("/sign-in", sign_in, ("GET", "POST")),
    (CALLBACK_PATH, sign_in_callback, ("GET",)),
    ("/sign-out", sign_out, ("GET", "POST")),
    ("/approvals", approvals, ("GET",)),
    ("/approvals/{approval}", approval, ("GET", "POST")),
)

_log = logging.getLogger("perhop.console")


def build_app(current: CurrentConsole) -> Starlette:
    """The console, as an ASGI application."""

    async def missing(request: Request, error: Exception) -> Response:
        is_method = isinstance(error, HTTPException) and error.status_code == 405
        return await _at_the_edge(_no_such_method if is_method else _no_such_page, current)(request)

    app = Starlette(
        routes=[Route(path, _at_the_edge(page, current), methods=list(methods)) for path, page, methods in PAGES],
        exception_handlers={HTTPException: missing},
    )
    app.router.redirect_slashes = False  # the router would answer before our edge, and redirect to any `Host`
    return app


def _at_the_edge(page: Page, current: CurrentConsole) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        console = current()
        try:
            console.door.check_host(request.headers)
            if request.method not in ("GET", "HEAD"):
                console.door.check_form(request.headers)
            return await page(request, console)
        except (Refused, Unavailable) as fact:
            if isinstance(fact, Unavailable):
                _log.warning("%s is not available: %s", request.url.path, fact.detail)
            return refused(fact, console)
        except Exception:
            # Not ours to foresee: closed, and only the log learns what it was.
            _log.exception("%s %s failed", request.method, request.url.path)
            return render_internal_error()

    return answer


async def _no_such_page(request: Request, _: Console) -> Response:
    raise PageMissing(f"no page `{request.url.path[:64]}`")


async def _no_such_method(request: Request, _: Console) -> Response:
    raise HttpMethodNotAllowed(f"method `{request.method[:16]}`")
