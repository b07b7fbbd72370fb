"""The guard in a FastMCP server: `FastMCP("calendar", auth=fastmcp_auth(guard))`.

FastMCP's own bearer check reads the header leniently and compares no audience unless told to; here the guard answers
in its place, on the MCP endpoint of the streamable HTTP transport. `current_token()` and FastMCP's own
`get_access_token()` both work in tools. Custom routes stay open, as FastMCP documents; the older SSE transport gets no
token through, so it is closed. With `middleware=[TraceHop()]` besides, the span that FastMCP makes for each request
says which hop it is; see `perhop.resource_server.hop_span`.
"""

from __future__ import annotations

from typing import Any, assert_never

from fastmcp.server.auth import AccessToken, AuthProvider
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials
from starlette.middleware import Middleware as AsgiMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from perhop.resource_server.asgi import (
    Passed,
    admit,
    admitted_with_proof,
    described_at,
    live,
    send_challenge,
    serve_metadata,
    was_admitted,
)
from perhop.resource_server.guard import Admitted, Guard
from perhop.resource_server.hop_span import describe_hop
from perhop.resource_server.refusal import Challenge


def fastmcp_auth(guard: Guard) -> AuthProvider:
    """The auth provider that puts this guard before a FastMCP server's MCP endpoint."""
    return GuardProvider(guard)


class TraceHop(Middleware):
    """FastMCP middleware: puts the hop on the request's span."""

    async def on_message(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        describe_hop()
        return await call_next(context)


class GuardProvider(AuthProvider):
    """FastMCP's auth provider whose every answer is the guard's."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self.guard = guard
        self.mcp_paths: set[str] = set()

    async def verify_token(self, token: str) -> AccessToken | None:
        """The guard's check of a token alone, for FastMCP code that asks for it."""
        outcome = admitted_with_proof(token) or await self.guard.check_token((("authorization", f"Bearer {token}"),))
        if not isinstance(outcome, Admitted):
            return None
        # A token that is bound to a call says nothing without the call: it counts where that has been checked.
        # So does any token where records are kept: nothing may be served that no record tells of.
        needs_message = outcome.token.token.call is not None or self.guard.records is not None
        is_whole = not needs_message or was_admitted(outcome.token)
        return render_access_token(outcome) if is_whole else None

    def get_routes(self, mcp_path: str | None = None) -> list[Route]:
        """The resource's metadata; FastMCP says here where its MCP endpoint is. Spec: RFC 9728 §3.1."""
        self.set_mcp_path(mcp_path)
        if mcp_path is not None:
            self.mcp_paths.add(mcp_path)
        return [Route(described_at(self.guard), endpoint=_Metadata(self.guard), methods=["GET"])]

    def get_middleware(self) -> list[AsgiMiddleware]:
        """In place of FastMCP's own: what it sets for the rest of FastMCP is set here too."""
        return [AsgiMiddleware(_GuardMiddleware, provider=self), AsgiMiddleware(AuthContextMiddleware)]


class _Metadata:
    """An ASGI endpoint: a class, since Starlette takes a function for a request handler."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await serve_metadata(self._guard, scope, send)


class _GuardMiddleware:
    def __init__(self, app: ASGIApp, provider: GuardProvider) -> None:
        self._app = app
        self._provider = provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await live(self._provider.guard, self._app, scope, receive, send)
            case "http" if scope["path"].removeprefix(scope.get("root_path", "")) in self._provider.mcp_paths:
                await self._serve(scope, receive, send)
            case _:
                # INVARIANT: FastMCP's endpoint wants `scope["user"]`, which is set below only; what Starlette might
                # route to it by another spelling of the path is answered 401 there.
                await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome = await admit(self._provider.guard, scope, receive)
        match outcome:
            case Passed():
                token = render_access_token(outcome.admitted)
                scope["auth"] = AuthCredentials(token.scopes)
                scope["user"] = AuthenticatedUser(token)
                with outcome.in_force(scope):
                    await self._app(outcome.inner(scope), outcome.receive, outcome.answering(send))
            case Challenge():
                await send_challenge(outcome, send)
            case None:
                pass  # the peer has gone away
            case _:
                assert_never(outcome)


def render_access_token(admitted: Admitted) -> AccessToken:
    """The admitted token as FastMCP knows tokens."""
    token = admitted.token
    return AccessToken(
        token=admitted.presented.reveal(),
        client_id=token.client_id,
        scopes=sorted(token.scopes),
        expires_at=token.expires_at,
        resource=token.resource,
        subject=token.subject,
        claims={
            "iss": token.issuer,
            "sub": token.subject,
            "aud": token.resource,
            "jti": token.jti,
            "client_id": token.client_id,
            "agent": token.agent,
        },
    )
