"""The official SDK's authorization routes: `PORT CLIENT SECRET RESOURCE TOKEN...`.

Each TOKEN is the first refresh token of a family. Refresh tokens in memory, each good once; an ES256 JWT by PyJWT for
each answer. The routes have no client credentials.
"""

from __future__ import annotations

import secrets
import sys
import time
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from mcp.server.auth.provider import RefreshToken
from mcp.server.auth.routes import create_auth_routes
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette

PORT, CLIENT, SECRET, RESOURCE, *FIRST = sys.argv[1:]
ISSUER = f"http://127.0.0.1:{PORT}"
KEY = ec.generate_private_key(ec.SECP256R1())


class Provider:
    """What the routes ask: one client, families in memory."""

    def __init__(self) -> None:
        self._client = OAuthClientInformationFull.model_validate(
            {
                "client_id": CLIENT,
                "client_secret": SECRET,
                "redirect_uris": ["http://127.0.0.1:9/callback"],
                "grant_types": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_method": "client_secret_post",
            }
        )
        self._live = {each: RefreshToken(token=each, client_id=CLIENT, scopes=["work:use"]) for each in FIRST}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        """The client."""
        return self._client if client_id == CLIENT else None

    async def load_refresh_token(self, client: Any, refresh_token: str) -> RefreshToken | None:
        """The token, if it is live."""
        del client
        return self._live.get(refresh_token)

    async def exchange_refresh_token(self, client: Any, refresh_token: RefreshToken, scopes: list[str]) -> OAuthToken:
        """Spend it, and give the next one with an access token."""
        del self._live[refresh_token.token]
        following = secrets.token_urlsafe(32)
        self._live[following] = RefreshToken(token=following, client_id=CLIENT, scopes=scopes)
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": "user:ann", "aud": RESOURCE, "client_id": client.client_id, "iat": now}
        claims |= {"exp": now + 300, "jti": secrets.token_urlsafe(16), "scope": " ".join(scopes)}
        access = jwt.encode(claims, KEY, algorithm="ES256", headers={"typ": "at+jwt", "kid": "bench"})
        return OAuthToken(access_token=access, expires_in=300, scope=" ".join(scopes), refresh_token=following)


routes = create_auth_routes(Provider(), AnyHttpUrl(ISSUER))  # type: ignore[arg-type]  # of the Protocol, what is used
uvicorn.run(
    Starlette(routes=routes), port=int(PORT), loop="uvloop", http="httptools", access_log=False, log_level="error"
)
