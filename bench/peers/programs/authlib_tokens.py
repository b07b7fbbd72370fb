"""Authlib's AuthorizationServer on Starlette: `PORT CLIENT SECRET RESOURCE`.

Client credentials with `client_secret_post`, one client in memory, an ES256 JWT for each answer by Authlib's own
generator, nothing stored: its cheapest mode. Authlib has no binding to Starlette; this is the one that it asks for.
"""

# mypy: disable-error-code="import-untyped, misc"
# Authlib says nothing of its types.

from __future__ import annotations

import secrets
import sys
from typing import Any

import uvicorn
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request, grants
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PORT, CLIENT, SECRET, RESOURCE = sys.argv[1:]
ISSUER = f"http://127.0.0.1:{PORT}"
KEY = ECKey.generate_key("P-256", {"kid": "bench", "use": "sig", "alg": "ES256"})


class Client(ClientMixin):
    """The one client."""

    def get_client_id(self) -> str:
        """Its id."""
        return CLIENT

    def get_allowed_scope(self, scope: str) -> str:
        """Whatever it asks for."""
        return scope

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare in constant time."""
        return secrets.compare_digest(client_secret, SECRET)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """The form only."""
        return (method, endpoint) == ("client_secret_post", "token")

    def check_grant_type(self, grant_type: str) -> bool:
        """Client credentials only."""
        return grant_type == "client_credentials"


class Grant(grants.ClientCredentialsGrant):
    """Authenticated by the form."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]  # noqa: RUF012


class Generator(JWTBearerTokenGenerator):
    """Tokens for the one resource, good for five minutes."""

    def get_jwks(self) -> Any:
        """The key to sign with."""
        return KEY

    def get_audiences(self, client: Any, user: Any, scope: Any) -> str:
        """The resource."""
        del client, user, scope
        return RESOURCE


class FormRequest(OAuth2Request):
    """A request whose form has been read."""

    def __init__(self, request: Request, form: dict[str, str]) -> None:
        super().__init__(request.method, str(request.url), headers=request.headers)
        self.payload = BasicOAuth2Payload(form)
        self._form = form

    @property
    def form(self) -> dict[str, str]:
        """Its fields."""
        return self._form


class Server(AuthorizationServer):
    """The binding to Starlette."""

    def query_client(self, client_id: str) -> Client | None:
        """From memory."""
        return CLIENTS.get(client_id)

    def save_token(self, token: Any, request: Any) -> None:
        """A JWT is not stored."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        """It comes as one."""
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Response:
        """As JSON."""
        return JSONResponse(body, status_code=status, headers=dict(headers))


CLIENTS = {CLIENT: Client()}
server = Server()
server.register_token_generator("default", Generator(ISSUER, alg="ES256", expires_generator=lambda *_: 300))
server.register_grant(Grant)


async def token(request: Request) -> Response:
    """The token endpoint."""
    async with request.form() as form:
        fields = {name: str(value) for name, value in form.items()}
    answer: Response = server.create_token_response(FormRequest(request, fields))
    return answer


app = Starlette(routes=[Route("/token", token, methods=["POST"])])
uvicorn.run(app, port=int(PORT), loop="uvloop", http="httptools", access_log=False, log_level="error")
