"""The official SDK's server with a verifier as its documentation shows it: `PORT KEY ISSUER AUDIENCE`.

Run by the Python of its own environment. KEY is a file with the issuer's public key; `-` is no check at all.
One tool, `echo`; stateless, JSON answers, no logs: its cheapest mode.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl

PORT, KEY, ISSUER, AUDIENCE = sys.argv[1:]


class Verifier:
    """Signature, issuer, audience and expiry, by PyJWT."""

    def __init__(self) -> None:
        # Read once, not for each token.
        key = load_pem_public_key(Path(KEY).read_bytes())
        assert isinstance(key, EllipticCurvePublicKey)
        self._key = key

    async def verify_token(self, token: str) -> AccessToken | None:
        """What the token says, or None."""
        try:
            claims = jwt.decode(token, self._key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
        except jwt.InvalidTokenError:
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims["scope"].split(),
            expires_at=claims["exp"],
            resource=claims["aud"],
        )


settings = AuthSettings(
    issuer_url=AnyHttpUrl(ISSUER), resource_server_url=AnyHttpUrl(AUDIENCE), validate_token_resource=True
)
server = (
    MCPServer("bench", log_level="ERROR")
    if KEY == "-"
    else MCPServer("bench", token_verifier=Verifier(), auth=settings, log_level="ERROR")
)


@server.tool()
def echo(amount: int, text: str) -> str:  # noqa: ARG001
    """A short answer."""
    return "x" * 89


app = server.streamable_http_app(streamable_http_path="/mcp", json_response=True, stateless_http=True)
uvicorn.run(app, port=int(PORT), loop="uvloop", http="httptools", access_log=False, log_level="error")
