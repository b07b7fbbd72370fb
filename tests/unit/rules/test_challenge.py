"""Challenges and metadata documents, as text."""

from __future__ import annotations

import pytest

from perhop.core.resource import ResourceUri
from perhop.errors import (
    AudienceMismatch,
    BearerRefused,
    ProofNonceNeeded,
    ProofRefused,
    ProofReplayed,
    ScopeInsufficient,
    SenderMismatch,
    TokenExpired,
    TokenMissing,
    TokenRevoked,
)
from perhop.rules.bearer import Scheme
from perhop.rules.challenge import (
    metadata_path,
    metadata_url,
    render_challenge,
    resource_metadata_document,
    taken_schemes,
)
from perhop.rules.resource_uri import parse_resource_uri

URL = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
BOTH = (Scheme.BEARER, Scheme.DPOP)
ALGORITHMS = 'DPoP algs="ES256 Ed25519 RS256 PS256"'


def test_every_refused_token_gets_the_same_challenge() -> None:
    """The challenge does not tell an expired token from a revoked or a misdirected one."""
    facts: list[BearerRefused] = [AudienceMismatch("addressed to `x`"), TokenExpired(), TokenRevoked()]
    rendered = {render_challenge(fact, metadata_url=URL, scopes=("a", "b"), taken=BOTH) for fact in facts}
    assert rendered == {
        'Bearer error="invalid_token", error_description="the access token is not valid here", scope="a b", '
        f'resource_metadata="{URL}", {ALGORITHMS}'
    }


def test_a_missing_token_is_no_error() -> None:
    """Who sent no token learns what to ask for and where, and of no error."""
    challenge = render_challenge(TokenMissing(), metadata_url=URL, scopes=("a",), taken=BOTH)
    assert challenge == f'Bearer scope="a", resource_metadata="{URL}", {ALGORITHMS}'


def test_a_missing_scope_is_named() -> None:
    """The challenge names the scope that the call needs, and not those that are advertised."""
    challenge = render_challenge(
        ScopeInsufficient("calendar:write"), metadata_url=URL, scopes=("calendar:read",), taken=BOTH
    )
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="calendar:write"' in challenge
    assert "calendar:read" not in challenge
    assert "DPoP" not in challenge


@pytest.mark.parametrize("fact", [SenderMismatch(), ProofRefused(), ProofReplayed(), ProofNonceNeeded()])
def test_a_token_that_needs_a_proof_hears_of_no_other_way(fact: BearerRefused) -> None:
    """RFC 9449 §7.1: the error stands in a DPoP challenge, with the algorithms; no Bearer challenge is beside it."""
    challenge = render_challenge(fact, metadata_url=URL, scopes=("a",), taken=BOTH)
    assert challenge.startswith(f'DPoP error="{fact.error}", error_description="')
    assert challenge.endswith(f'resource_metadata="{URL}", algs="ES256 Ed25519 RS256 PS256"')
    assert "Bearer" not in challenge


def test_who_comes_with_a_proof_is_answered_in_these_words() -> None:
    """An expired token is an error of the scheme that it came with; `Bearer` is not named where it is not taken."""
    for headers, must in (((("Authorization", "dpop x"),), False), ((), True)):
        taken = taken_schemes(headers, must_be_bound=must)
        challenge = render_challenge(TokenExpired(), metadata_url=URL, scopes=(), taken=taken)
        assert challenge.startswith('DPoP error="invalid_token"')
        assert "Bearer" not in challenge
    assert taken_schemes((("authorization", "Bearer dpop"), ("dpop", "x"))) == BOTH


def test_without_scopes_none_is_named() -> None:
    """An empty scope parameter is not written."""
    assert "scope=" not in render_challenge(TokenMissing(), metadata_url=URL, scopes=(), taken=BOTH)


def test_quotes_are_escaped() -> None:
    """No value can end its quoted string."""
    challenge = render_challenge(TokenMissing(), metadata_url=URL, scopes=('a", error="x\\',), taken=BOTH)
    assert challenge == f'Bearer scope="a\\", error=\\"x\\\\", resource_metadata="{URL}", {ALGORITHMS}'


@pytest.mark.parametrize(
    ("resource", "path", "url"),
    [
        ("https://mcp.example.com", "", "https://mcp.example.com/.well-known/oauth-protected-resource"),
        ("https://mcp.example.com/mcp", "/mcp", URL),
        (
            "http://127.0.0.1:9001/a/b",
            "/a/b",
            "http://127.0.0.1:9001/.well-known/oauth-protected-resource/a/b",
        ),
        ("https://h.example/mcp/", "/mcp/", "https://h.example/.well-known/oauth-protected-resource/mcp/"),
        ("https://h.example/mcp?t=1/2", "/mcp", "https://h.example/.well-known/oauth-protected-resource/mcp?t=1/2"),
    ],
)
def test_the_metadata_goes_between_host_and_path(resource: str, path: str, url: str) -> None:
    """The well-known suffix stands before the resource's path, and a query stays at the end."""
    uri: ResourceUri = parse_resource_uri(resource)
    assert metadata_url(uri) == url
    assert metadata_path(uri) == "/.well-known/oauth-protected-resource" + path


def test_the_document_repeats_the_resource() -> None:
    """The document has the audience as it is, header tokens only, and scopes and name where there are any."""
    uri = parse_resource_uri("https://mcp.example.com/mcp")
    full = resource_metadata_document(uri, authorization_servers=["https://a"], scopes=["s"], name="Calendar")
    assert full == {
        "resource": "https://mcp.example.com/mcp",
        "authorization_servers": ["https://a"],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "Ed25519", "RS256", "PS256"],
        "scopes_supported": ["s"],
        "resource_name": "Calendar",
    }
    bare = resource_metadata_document(uri, authorization_servers=["https://a"], scopes=[])
    assert bare.keys() == full.keys() - {"scopes_supported", "resource_name"}
    strict = resource_metadata_document(uri, authorization_servers=["https://a"], scopes=[], must_be_bound=True)
    assert strict["dpop_bound_access_tokens_required"] is True
