"""`/introspect`: the server that a token is addressed to asks whether it is in force, and what it says.

Nobody else learns anything: of a token for another server, and of one that is not good, the answer is the same.

Spec: RFC 7662 §2
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from perhop.authorization_server.client_auth.authenticate import authenticate_client
from perhop.authorization_server.client_auth.credentials import parse_credentials
from perhop.authorization_server.endpoints.refuse import refuse
from perhop.authorization_server.endpoints.render import NO_STORE
from perhop.authorization_server.form import check_unrepeated, read_form
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.trail import Trail
from perhop.core.client import Client, NoAuthentication
from perhop.core.token import VerifiedToken
from perhop.errors import (
    BearerRefused,
    ClientAuthenticationFailed,
    OwnerMissing,
    Refused,
    TaskExpired,
    TaskOutside,
    TaskSuperseded,
    Unavailable,
)
from perhop.rules.delegation import GATEWAY_PREFIX
from perhop.rules.lifetime import Leeway
from perhop.tokens.parse import parse_compact
from perhop.tokens.verify import verify

INTROSPECT_PATH = "/introspect"

_TOLD = (
    "iss",
    "sub",
    "client_id",
    "aud",
    "iat",
    "exp",
    "jti",
    "scope",
    "act",
    "cnf",
    "txn",
    "tenant",
    "agent",
    "hop",
    "authorization_details",
    "auth_time",
    "acr",
)
"""Claims that are told as the token has them; one that it does not have is left out."""

_INACTIVE = {"active": False}


async def introspect(request: Request, issuer: Issuer) -> Response:
    """Parse -> authenticate client -> verify the token -> look whom it addresses -> look if it is in force -> tell.

    Nothing is recorded of an answer: it gives no power, and whoever asks has the token already.

    Spec: RFC 7662 §2.2
    Spec: RFC 9470 §6.2
    """
    trail = Trail.of(request)
    authorization = request.headers.getlist("authorization")
    try:
        form = await read_form(request)
        trail = trail.asking(form, issuer.registry)
        check_unrepeated(form)
        client = await authenticate_client(parse_credentials(authorization, form), issuer)
        trail = trail.by(client)
        issuer.rates.check_client(client, trail.request.ip, issuer.rate_limits)
        _check_proved(client)
        body = _told(form.required("token"), client, issuer)
    except (Refused, Unavailable) as fact:
        return await refuse(fact, trail, issuer, tried_header=bool(authorization))
    return JSONResponse(body, headers=dict(NO_STORE))


def _check_proved(client: Client) -> None:
    """Refuse a client that proves nothing, so that nobody tries tokens here in its name.

    Spec: RFC 7662 §2.1
    Raises: ClientAuthenticationFailed
    """
    if isinstance(client.authentication, NoAuthentication):
        raise ClientAuthenticationFailed(f"client `{client.id}` has nothing to authenticate with")


def _told(raw: str, client: Client, issuer: Issuer) -> dict[str, Any]:
    try:
        token = verify(raw, keys={issuer.url: issuer.keyring.verify_keys()}, now=issuer.now(), leeway=Leeway.NONE)
        if not _is_in_force(token, client, issuer):
            return _INACTIVE
    except (BearerRefused, OwnerMissing, TaskOutside, TaskSuperseded, TaskExpired):
        return _INACTIVE
    claims = parse_compact(raw).payload
    confirms = claims.get("cnf", {})
    return {
        "active": True,
        "token_type": "DPoP" if "jkt" in confirms else "Bearer",
        **{name: claims[name] for name in _TOLD if name in claims},
    }


def _is_in_force(token: VerifiedToken, client: Client, issuer: Issuer) -> bool:
    """False for a token that is addressed to a server for which the client does not answer.

    Raises: BearerRefused, OwnerMissing, TaskOutside, TaskSuperseded, TaskExpired
    """
    resource = issuer.registry.resource_served_at(token.audience)
    if resource is None or resource.name not in client.serves:
        return False
    issuer.tasks.check_token(token)
    issuer.revocations.check(token)
    # The self-test's own token has the gateway as its agent, which is no client: it is good where it is addressed to.
    if not token.agent.startswith(GATEWAY_PREFIX):
        issuer.standing.check_token(token, resource, issuer.registry, now=issuer.now())
    return True
