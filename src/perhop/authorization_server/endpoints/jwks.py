"""`/jwks`: the public keys that verify our tokens, prepared ones included, so that a rotation surprises nobody.

Spec: RFC 7517 §5
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.render import render_public
from perhop.authorization_server.issuer import Issuer
from perhop.tokens.jwks import render_jwks

MAX_AGE = 300


async def jwks(_request: Request, issuer: Issuer) -> Response:
    """Answer with the key set."""
    return render_public(render_jwks(issuer.keyring.published()), max_age=MAX_AGE)
