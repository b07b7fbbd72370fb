"""`/register`: a client says what it is. It gets an id, and nothing else until an owner has adopted it.

Spec: RFC 7591 §3
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from perhop.authorization_server.endpoints.refuse import refuse
from perhop.authorization_server.endpoints.render import NO_STORE
from perhop.authorization_server.form import read_body
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.newcomers.known import MAX_REGISTRATION_BYTES
from perhop.authorization_server.newcomers.registrations import ID_PREFIX, Registered
from perhop.authorization_server.trail import Trail
from perhop.core.client import GrantType
from perhop.errors import ClientMetadataInvalid, Refused, Unavailable

REGISTER_PATH = "/register"


async def register(request: Request, issuer: Issuer) -> Response:
    """Look if it is on -> read -> register -> respond. Where it is off there is nothing here.

    No initial access token is asked for: an owner's adoption stands in its place.

    Spec: RFC 7591 §3.1
    """
    if not issuer.newcomers.admission.registers:
        return Response(status_code=404)
    trail = Trail.of(request).at(place=REGISTER_PATH)
    try:
        registered = await issuer.newcomers.registrations.register(
            await _read(request),
            client_id=ID_PREFIX + issuer.new_id(),
            new_secret=issuer.new_secret,
            request=trail.request,
        )
    except (Refused, Unavailable) as fact:
        return await refuse(fact, trail, issuer)
    return JSONResponse(render_registered(registered), status_code=201, headers=dict(NO_STORE))


async def _read(request: Request) -> bytes:
    """Raises: ClientMetadataInvalid, BodyTooLarge, BodyTooSlow, TokenRequestMalformed."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ClientMetadataInvalid("the content type is not `application/json`")
    return await read_body(request, max_bytes=MAX_REGISTRATION_BYTES)


def render_registered(registered: Registered) -> dict[str, Any]:
    """What the client is told: what was registered, which may be less than it asked for, and its secret, once.

    Spec: RFC 7591 §3.2.1
    """
    metadata, registration = registered.metadata, registered.registration
    secret = registered.secret
    told: dict[str, Any] = {
        "client_id": registration.client_id,
        "client_id_issued_at": registration.registered_at,
        **({"client_secret": secret.reveal(), "client_secret_expires_at": 0} if secret is not None else {}),
        "client_name": metadata.name,
        "redirect_uris": list(metadata.redirect_uris),
        "grant_types": [each.value for each in GrantType if each in metadata.grants],
        "response_types": ["code"],
        "token_endpoint_auth_method": metadata.method,
    }
    if metadata.jwks is not None:
        told["jwks"] = metadata.jwks
    if metadata.application_type is not None:
        told["application_type"] = metadata.application_type
    return told
