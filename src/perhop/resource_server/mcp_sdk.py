"""The guard in a server of the official SDK:

    server = MCPServer("rooms", **sdk_auth(guard))
    app = guard.asgi(server.streamable_http_app())

With `middleware=[trace_hop]` besides, the span that the SDK makes for each message says which hop it is; see
`perhop.resource_server.hop_span`.

The first line makes the SDK take only tokens that the guard takes, however the server is run. The second puts the
guard's own answers, and its check of the message, before the SDK's. `current_token()` and the SDK's own
`get_access_token()` both work in tools.
"""

from __future__ import annotations

from typing import Any, TypedDict

from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from perhop.errors import JournalUnavailable, KeysUnavailable
from perhop.resource_server.asgi import admitted_with_proof, was_admitted
from perhop.resource_server.guard import Admitted, Guard
from perhop.resource_server.hop_span import describe_hop


class SdkAuth(TypedDict):
    """The two arguments by which the SDK's servers take authentication."""

    auth: AuthSettings
    token_verifier: TokenVerifier


def sdk_auth(guard: Guard) -> SdkAuth:
    """What `MCPServer` and the low-level server's `streamable_http_app` need to take only what the guard takes."""
    settings = AuthSettings.model_validate(
        {"issuer_url": guard.issuers[0], "resource_server_url": guard.resource, "validate_token_resource": True}
    )
    return SdkAuth(auth=settings, token_verifier=GuardVerifier(guard))


async def trace_hop(context: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware of the SDK's servers: puts the hop on the message's span, where `guard.asgi` has admitted it."""
    describe_hop()
    return await call_next(context)


class GuardVerifier:
    """The SDK's token verifier, which asks the guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def verify_token(self, token: str) -> AccessToken | None:
        """None for a token that is refused.

        Raises: KeysUnavailable, JournalUnavailable
        """
        # A token that is bound to a key comes here as a bearer token, and only from `guard.asgi`, which took its proof.
        bearer = (("authorization", f"Bearer {token}"),)
        outcome = admitted_with_proof(token) or await self._guard.check_token(bearer)
        if not isinstance(outcome, Admitted):
            if outcome.status == 503:
                raise KeysUnavailable("the guard cannot tell whether the token is good")
            return None
        bound = outcome.token
        # A token that is bound to a call says nothing without the call: `guard.asgi` has seen it, or nobody has.
        if bound.token.call is not None and not was_admitted(bound):
            return None
        if self._guard.records is not None and not was_admitted(bound):
            raise JournalUnavailable("records are kept here, and this message is not seen: put `guard.asgi` around it")
        return AccessToken(
            token=token,
            client_id=bound.client_id,
            scopes=sorted(bound.scopes),
            # The guard has looked at the expiry, with its leeway; the SDK would look again without.
            expires_at=None,
            resource=bound.resource,
            subject=bound.subject,
            claims={"iss": bound.issuer, "jti": bound.jti, "agent": bound.agent},
        )
