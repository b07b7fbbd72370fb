"""`/revoke`: a client gives back a token that it got, and all that came from it; of a refresh token, its family.

Spec: RFC 7009 §2
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.client_auth.authenticate import authenticate_client
from perhop.authorization_server.client_auth.credentials import parse_credentials
from perhop.authorization_server.endpoints.refuse import refuse
from perhop.authorization_server.endpoints.render import NO_STORE
from perhop.authorization_server.form import check_unrepeated, read_form
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.refresh_families import hash_refresh_token
from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.trail import Trail
from perhop.core.client import Client
from perhop.core.token import VerifiedToken
from perhop.errors import BearerRefused, Refused, RevocationNotAllowed, Unavailable
from perhop.rules.lifetime import Leeway
from perhop.tokens.verify import verify


async def revoke(request: Request, issuer: Issuer) -> Response:
    """Parse -> authenticate client -> verify the token -> look whose it is -> revoke.

    A token that is good nowhere any more, or never was, is as revoked as can be: 200.

    Spec: RFC 7009 §2.2
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
        token = _live_token(form.required("token"), issuer)
        if token is None:
            await _give_back_family(form.required("token"), client, issuer)
        else:
            trail = trail.having_verified(token)
            _check_owned(token, client)
            await issuer.revoker.revoke(
                RevokedObject.TOKEN, token.jti, why="its client gave it back", by=f"client:{client.id}"
            )
    except (Refused, Unavailable) as fact:
        return await refuse(fact, trail, issuer, tried_header=bool(authorization))
    return Response(status_code=200, headers=dict(NO_STORE))


async def _give_back_family(raw: str, client: Client, issuer: Issuer) -> None:
    """End the family of a refresh token, used or not, if it is one; the hint of its type is not needed.

    Spec: RFC 7009 §2.1
    Raises: RevocationNotAllowed, StorageUnavailable, JournalUnavailable
    """
    stored = await issuer.stores.refresh_tokens.find(hash_refresh_token(raw))
    if stored is None:
        return
    family = stored.family
    if family.client_id != client.id:
        raise RevocationNotAllowed(f"the refresh token was given to client `{family.client_id}`")
    await issuer.revoker.end_family(family.id, why="its client gave it back", by=f"client:{client.id}")


def _live_token(raw: str, issuer: Issuer) -> VerifiedToken | None:
    try:
        return verify(raw, keys={issuer.url: issuer.keyring.verify_keys()}, now=issuer.now(), leeway=Leeway.GUARD)
    except BearerRefused:
        return None


def _check_owned(token: VerifiedToken, client: Client) -> None:
    """Refuse unless the token was issued to this client, or its whole chain began with it.

    Spec: RFC 7009 §2.1
    """
    if client.id not in (token.client_id, token.agent):
        raise RevocationNotAllowed(f"client `{client.id}` neither got this token nor began its chain")
