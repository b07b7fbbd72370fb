"""The authorization server's routes, as a table, and the one edge at which nothing unforeseen gets out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from perhop.authorization_server.direct_request import DirectRequest, answer_at_once
from perhop.authorization_server.endpoints.access import (
    EVALUATION_PATH,
    EVALUATIONS_PATH,
    SEARCH_PATH,
    access_metadata,
    evaluation,
    evaluations,
    search_action,
    search_resource,
    search_subject,
)
from perhop.authorization_server.endpoints.authorize import authorize
from perhop.authorization_server.endpoints.introspect import INTROSPECT_PATH, introspect
from perhop.authorization_server.endpoints.jwks import jwks
from perhop.authorization_server.endpoints.metadata import metadata
from perhop.authorization_server.endpoints.my_access import PATH as MY_ACCESS_PATH
from perhop.authorization_server.endpoints.my_access import my_access
from perhop.authorization_server.endpoints.records import records, records_metadata
from perhop.authorization_server.endpoints.refuse import refuse
from perhop.authorization_server.endpoints.register import REGISTER_PATH, register
from perhop.authorization_server.endpoints.render import NO_STORE, render_internal_error
from perhop.authorization_server.endpoints.revocations import revocations
from perhop.authorization_server.endpoints.revoke import revoke
from perhop.authorization_server.endpoints.sign_in_callback import sign_in_callback
from perhop.authorization_server.endpoints.tasks import TASKS_PATH, tasks
from perhop.authorization_server.endpoints.token import token
from perhop.authorization_server.federation.round_trip import CALLBACK_PATH
from perhop.authorization_server.issuer import CurrentIssuer, Issuer
from perhop.authorization_server.records_resource import RECORDS_PATH, records_uri
from perhop.authorization_server.sender import TOKEN_PATH
from perhop.authorization_server.trail import Trail
from perhop.errors import Refused, Unavailable
from perhop.rules.challenge import metadata_path

Endpoint = Callable[[Request, Issuer], Awaitable[Response]]

ENDPOINTS: Sequence[tuple[str, Endpoint, Sequence[str]]] = (
    ("/authorize", authorize, ("GET", "POST")),
    (MY_ACCESS_PATH, my_access, ("GET", "POST")),
    (CALLBACK_PATH, sign_in_callback, ("GET",)),
    (TOKEN_PATH, token, ("POST",)),
    (INTROSPECT_PATH, introspect, ("POST",)),
    ("/revoke", revoke, ("POST",)),
    ("/revocations", revocations, ("GET",)),
    ("/jwks", jwks, ("GET",)),
    (RECORDS_PATH, records, ("POST",)),
    (EVALUATION_PATH, evaluation, ("POST",)),
    (EVALUATIONS_PATH, evaluations, ("POST",)),
    (f"{SEARCH_PATH}/subject", search_subject, ("POST",)),
    (f"{SEARCH_PATH}/resource", search_resource, ("POST",)),
    (f"{SEARCH_PATH}/action", search_action, ("POST",)),
    (TASKS_PATH, tasks, ("POST",)),
    (REGISTER_PATH, register, ("POST",)),
)
"""Below the issuer's own path."""

COUNTED = frozenset({"/authorize", "/token", "/introspect", "/revoke", "/register", "/tasks"})
"""Endpoints whose requests are counted by address. What is read and cached, and what servers send of their own, is not.
"""

WELL_KNOWN = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
"""Spec: RFC 8414 §3; the second name for clients that know only OpenID Connect Discovery."""

ACCESS_WELL_KNOWN = "/.well-known/authzen-configuration"
"""Spec: AuthZEN 1.0 §9.2"""

_log = logging.getLogger("perhop.authorization_server")


def authorization_server_routes(issuer_url: str, current: CurrentIssuer) -> list[Route]:
    """Every route of the authorization server, for the application that holds the traffic listener.

    Metadata stands where RFC 8414 puts it (the well-known name before the issuer's path) and, for the second name,
    where OpenID Connect Discovery does (after it).

    Spec: RFC 8414 §3.1
    """
    path = urlsplit(issuer_url).path.rstrip("/")
    metadata_paths = dict.fromkeys((*(name + path for name in WELL_KNOWN), path + WELL_KNOWN[1]))
    return [
        *(Route(each, _at_the_edge(metadata, current), methods=["GET"]) for each in metadata_paths),
        Route(ACCESS_WELL_KNOWN + path, _at_the_edge(access_metadata, current), methods=["GET"]),
        Route(metadata_path(records_uri(issuer_url)), _at_the_edge(records_metadata, current), methods=["GET"]),
        *(
            Route(path + each, _at_the_edge(_counted(each, endpoint), current), methods=list(methods))
            for each, endpoint, methods in ENDPOINTS
        ),
    ]


def build_app(issuer_url: str, current: CurrentIssuer) -> ASGIApp:
    """The authorization server alone, as an ASGI application."""
    routed = Starlette(
        routes=authorization_server_routes(issuer_url, current), exception_handlers={HTTPException: _not_routed}
    )
    routed.router.redirect_slashes = False  # it would redirect to any `Host`, and with the scheme of this listener
    return _Direct(issuer_url, current, routed)


class _Direct:
    """What is asked for most is answered by its exact name, past the router, which answers everything else."""

    def __init__(self, issuer_url: str, current: CurrentIssuer, routed: ASGIApp) -> None:
        self._token_path = urlsplit(issuer_url).path.rstrip("/") + TOKEN_PATH
        self._token = _at_the_edge(_counted(TOKEN_PATH, token), current)
        self._routed = routed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_token_request = scope["type"] == "http" and scope["path"] == self._token_path and scope["method"] == "POST"
        if is_token_request and not scope.get("root_path"):
            answer = await self._token(DirectRequest(scope, receive, send))
            if not answer_at_once(scope, answer):
                await answer(scope, receive, send)
        else:
            await self._routed(scope, receive, send)


async def _not_routed(_: Request, error: Exception) -> Response:
    """What the router knows no endpoint for: another path, or another method."""
    assert isinstance(error, HTTPException)
    return Response(error.detail, error.status_code, {**NO_STORE, **(error.headers or {})}, "text/plain")


def _counted(path: str, endpoint: Endpoint) -> Endpoint:
    """The endpoint, behind the limit for each address if it has one: before anything of the request is read."""
    if path not in COUNTED:
        return endpoint

    async def answer(request: Request, issuer: Issuer) -> Response:
        address = request.client.host if request.client else None
        issuer.rates.check_address(address, issuer.rate_limits)
        return await endpoint(request, issuer)

    return answer


def _at_the_edge(endpoint: Endpoint, current: CurrentIssuer) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        issuer = current()
        try:
            return await endpoint(request, issuer)
        except (Refused, Unavailable) as fact:
            return await refuse(fact, Trail.of(request), issuer)
        except Exception:
            # Not ours to foresee: closed, and only the log learns what it was.
            _log.exception("%s %s failed", request.method, request.url.path)
            return render_internal_error()

    return answer
