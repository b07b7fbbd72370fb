"""RFC 6750: how a bearer token comes, and what the resource answers."""

from __future__ import annotations

import pytest

from perhop.errors import TokenMalformed
from perhop.resource_server import Admitted, Challenge, Guard
from perhop.rules.bearer import parse_presented
from tests.support.offline_issuer import Clock, OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"


async def _outcome(headers: list[tuple[str, str]], *, path: str = "/other") -> Admitted | Challenge:
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    guard = Guard(resource=RESOURCE, issuers=[issuer.url], scopes=["a", "b"], http=issuer.http(), clock=clock)
    sent = [(name, value.replace("GOOD", issuer.mint(RESOURCE))) for name, value in headers]
    try:
        return await guard.check(method="GET", path=path, headers=sent, body=b"")
    finally:
        await guard.aclose()


def test_the_token_of_the_example_is_read() -> None:
    """§2.1: the example's header field."""
    assert parse_presented((("Authorization", "Bearer mF_9.B5f-4.1JqM"),)).token == "mF_9.B5f-4.1JqM"


@pytest.mark.parametrize("token", ["", "=", "a=b", "a,b", 'a"b', "a\u00e9"])
def test_a_token_is_of_the_b64token_alphabet(token: str) -> None:
    """§2.1: b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="."""
    with pytest.raises(TokenMalformed):
        parse_presented((("authorization", f"Bearer {token}"),))


async def test_only_the_header_counts() -> None:
    """§2: "Clients MUST NOT use more than one method"; a token in the query is not looked at."""
    assert isinstance(await _outcome([("authorization", "Bearer GOOD")]), Admitted)
    assert isinstance(await _outcome([], path="/other?access_token=GOOD"), Challenge)


async def test_a_challenge_names_the_scheme_first() -> None:
    """§3: the auth-scheme is "Bearer", followed by at least one parameter."""
    outcome = await _outcome([])
    assert isinstance(outcome, Challenge)
    (value,) = [value for name, value in outcome.headers if name == "www-authenticate"]
    assert value.startswith('Bearer scope="a b", resource_metadata="')


async def test_no_authentication_no_error_code() -> None:
    """§3.1: a request that "lacks any authentication information" gets no error code or other error information."""
    for headers in ([], [("authorization", "Basic YTpi")]):
        outcome = await _outcome(headers)
        assert isinstance(outcome, Challenge)
        assert outcome.status == 401
        assert "error" not in dict(outcome.headers)["www-authenticate"]


async def test_an_invalid_token_is_401() -> None:
    """§3.1: invalid_token is 401, said with fixed text."""
    outcome = await _outcome([("authorization", "Bearer mF_9.B5f-4.1JqM")])
    assert isinstance(outcome, Challenge)
    assert outcome.status == 401
    assert 'Bearer error="invalid_token", error_description="' in dict(outcome.headers)["www-authenticate"]


def test_an_insufficient_scope_is_403() -> None:
    """§3.1: insufficient_scope is 403 and may name "the scope necessary to access the protected resource"."""
    guard = Guard(resource=RESOURCE, issuers=["https://auth.example.com"])
    outcome = guard.insufficient_scope("calendar:write")
    assert outcome.status == 403
    value = dict(outcome.headers)["www-authenticate"]
    assert 'error="insufficient_scope"' in value
    assert 'scope="calendar:write"' in value
