"""What is printed of requests, answers and tokens in a log or a traceback is of no use to who reads it."""

from __future__ import annotations

import httpx2

from perhop.client.authorization_code import begin_authorization, redeem_form, refresh_form
from perhop.client.authorization_metadata import AuthorizationMetadata
from perhop.client.fetch import Answer
from perhop.client.token_request import TokenRequest
from perhop.core.secret import Secret
from perhop.tokens.assertion import sign_client_assertion
from perhop.tokens.authorization_grant import AssertionKind, PresentedAssertion
from perhop.tokens.keys import SigningKey
from perhop.tokens.parse import parse_compact

ENDPOINT = "https://auth.example.com/token"


def test_a_token_request_prints_nothing_of_its_form() -> None:
    """Neither a refresh token, nor a code with its verifier, nor the state on the way there."""
    metadata = AuthorizationMetadata(
        issuer="https://auth.example.com",
        authorization_endpoint="https://auth.example.com/authorize",
        token_endpoint=ENDPOINT,
        registration_endpoint=None,
    )
    begun = begin_authorization(
        metadata,
        client_id="desk",
        redirect_uri="http://127.0.0.1/callback",
        indicator="https://mcp.example.com/mcp",
        scopes=None,
        state="the-state-of-a-request",
        verifier=Secret("the-verifier-of-a-request-of-forty-three-letters"),
    )
    forms = [redeem_form("the-code-of-a-person", begun), refresh_form(Secret("the-refresh-token"), begun.indicator)]
    printed = repr(begun) + "".join(
        repr(TokenRequest(endpoint=ENDPOINT, form=form, identity=lambda: (None, ()))) for form in forms
    )
    assert printed.count(ENDPOINT) == 2
    for secret in ("the-state", "the-verifier", "the-code", "the-refresh-token"):
        assert secret not in printed


def test_an_answer_prints_nothing_of_its_body() -> None:
    """A token endpoint's holds tokens."""
    assert "the-access-token" not in repr(Answer(200, httpx2.Headers(), b'{"access_token": "the-access-token"}'))


def test_a_token_cannot_be_put_together_from_what_is_printed() -> None:
    """Of a parsed one, and of an assertion, neither the signature shows nor what is signed."""
    key = SigningKey.generate()
    raw = sign_client_assertion(client_id="desk", audience=ENDPOINT, key=key, jti="one", now=1_800_000_000)
    jws = parse_compact(raw)
    for printed in (repr(jws), repr(PresentedAssertion(AssertionKind.WORKLOAD, "https://a.example", jws))):
        assert raw.rpartition(".")[0] not in printed
        assert repr(jws.signature) not in printed
