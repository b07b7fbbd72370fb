"""RFC 8414: what is published, where, and that it is true."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from perhop.tokens.jwks import parse_jwks
from perhop.tokens.keys import Keyring, KeyState, SigningKey
from tests.support.authorization_servers import ISSUER, running_server

WELL_KNOWN = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


@pytest.mark.parametrize("path", WELL_KNOWN)
async def test_the_document_says_what_is_built(tmp_path: Path, path: str) -> None:
    """Every member is that of a part that answers; nothing else is advertised."""
    async with running_server(tmp_path) as server:
        answer = await server.http.get(path)
        document = answer.json()
        assert document["issuer"] == ISSUER
        assert document["code_challenge_methods_supported"] == ["S256"]
        assert document["response_types_supported"] == ["code"]
        assert document["grant_types_supported"] == [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ]
        assert document["token_endpoint_auth_methods_supported"] == [
            "none",
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
        ]
        assert "ES256" in document["token_endpoint_auth_signing_alg_values_supported"]
        assert not {"none", "HS256"} & set(document["token_endpoint_auth_signing_alg_values_supported"])
        assert "calendar:read" in document["scopes_supported"]
        assert "offline_access" not in document["scopes_supported"]
        assert document["introspection_endpoint"] == f"{ISSUER}/introspect"
        assert "none" not in document["introspection_endpoint_auth_methods_supported"]
        assert not {"registration_endpoint", "pushed_authorization_request_endpoint"} & set(document)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_every_endpoint_that_is_named_answers(tmp_path: Path) -> None:
    """No member names an address where nothing is."""
    async with running_server(tmp_path) as server:
        document = (await server.http.get(WELL_KNOWN[0])).json()
        for name, value in document.items():
            if name.endswith(("_endpoint", "jwks_uri")):
                assert value.startswith(ISSUER)
                query = "?wait=0" if "revocations" in name else ""
                assert (await server.http.get(f"{value}{query}")).status_code in (200, 400, 405), name


async def test_an_issuer_with_a_path(tmp_path: Path) -> None:
    """The well-known names stand before the issuer's path, for OpenID Connect also after it; endpoints below it."""
    issuer = "https://example.com/auth"
    async with running_server(tmp_path, issuer_url=issuer) as server:
        origin = "https://example.com"
        for path in (*(f"{name}/auth" for name in WELL_KNOWN), f"/auth{WELL_KNOWN[1]}"):
            document = (await server.http.get(f"{origin}{path}")).json()
            assert document["issuer"] == issuer
        assert urlsplit(document["token_endpoint"]).path == "/auth/token"
        assert (await server.http.post(document["token_endpoint"])).status_code == 400
        assert (await server.http.get(f"{origin}/token")).status_code == 404


async def test_keys_are_published_before_they_sign(tmp_path: Path) -> None:
    """The key set holds prepared, active and retired keys, no revoked one, no private half, and may be kept 300 s."""
    async with running_server(tmp_path) as server:
        prepared, retired, revoked = (SigningKey.generate() for _ in range(3))
        states = ((server.keys.issuer, KeyState.ACTIVE), (prepared, KeyState.PREPARED))
        more = ((retired, KeyState.RETIRED), (revoked, KeyState.REVOKED))
        server.change(keyring=Keyring((*states, *more)))
        answer = await server.http.get("/jwks")
        assert parse_jwks(answer.content).keys() == {server.keys.issuer.kid, prepared.kid, retired.kid}
        assert not any("d" in key for key in answer.json()["keys"])
        assert answer.headers["cache-control"] == "public, max-age=300"
