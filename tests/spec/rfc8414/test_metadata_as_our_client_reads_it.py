"""RFC 8414: what our client takes from an authorization server's metadata before it sends a person there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perhop.client.authorization_metadata import discover_authorization, parse_authorization_metadata
from perhop.errors import IssuerUnavailable
from tests.support.sign_in_world import SignInWorld, issuer_metadata

HOST = "https://auth.example.com"


@pytest.mark.parametrize("issuer", [HOST, f"{HOST}/", f"{HOST}/tenant", f"{HOST}/tenant/"])
async def test_the_three_places_are_asked_in_order(issuer: str) -> None:
    """§3.1 and OpenID Connect: the suffix before the path, then its other name, then that after the path."""
    path = issuer.removeprefix(HOST).rstrip("/")
    places = [
        f"{HOST}/.well-known/oauth-authorization-server{path}",
        f"{HOST}/.well-known/openid-configuration{path}",
        f"{HOST}{path}/.well-known/openid-configuration",
    ]
    for place in dict.fromkeys(places):
        world = SignInWorld()
        world.documents = {place: issuer_metadata(HOST, issuer=issuer)}
        found = await discover_authorization(world.http(), issuer)
        assert found.issuer == issuer
        assert world.gets == list(dict.fromkeys(places))[: list(dict.fromkeys(places)).index(place) + 1]


def _read(**changes: Any) -> Any:
    return parse_authorization_metadata(json.dumps(issuer_metadata(**changes)).encode(), issuer=HOST)


def test_the_issuer_must_be_identical() -> None:
    """§3.3: not one character may differ."""
    for issuer in (f"{HOST}/", "https://AUTH.example.com", "https://evil.example.com", None):
        with pytest.raises(IssuerUnavailable):
            _read(issuer=issuer)


def test_what_is_left_out_has_its_default() -> None:
    """§2: `client_secret_basic` where no method is listed; and no promise where none is made."""
    read = _read(
        token_endpoint_auth_methods_supported=None,
        authorization_response_iss_parameter_supported=None,
        registration_endpoint=None,
    )
    assert read.authentication_methods == {"client_secret_basic"}
    assert not read.promises_issuer
    assert read.registration_endpoint is None
    assert _read(authorization_response_iss_parameter_supported="yes").promises_issuer


@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint"])
def test_both_endpoints_must_be_there(member: str) -> None:
    """Nobody is sent away who could not be brought back."""
    with pytest.raises(IssuerUnavailable, match="endpoint"):
        _read(**{member: None})
