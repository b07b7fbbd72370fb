"""The authorization code grant, as a client goes through it: where to send the person, and what to redeem.

Spec: RFC 6749 §4.1
Spec: RFC 7636 §4
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from perhop.client.authorization_metadata import AuthorizationMetadata
from perhop.client.token_request import Form, scope_form
from perhop.core.authentication import AuthenticationWanted
from perhop.core.secret import Secret
from perhop.rules.authorization_answer import ExpectedAnswer
from perhop.rules.pkce import CHALLENGE_METHOD, code_challenge


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """One way of a person to an authorization server and back. Made before it begins, kept until the code is redeemed.

    What holds the state does not print.

    Spec: MCP 2026-07-28 authorization
    """

    url: str = field(repr=False)
    redirect_uri: str
    indicator: str
    verifier: Secret
    expected: ExpectedAnswer = field(repr=False)


def begin_authorization(
    metadata: AuthorizationMetadata,
    *,
    client_id: str,
    redirect_uri: str,
    indicator: str,
    scopes: Iterable[str] | None,
    state: str,
    verifier: Secret,
    proof_thumbprint: str | None = None,
    wanted: AuthenticationWanted | None = None,
) -> AuthorizationRequest:
    """Where the person is to be sent, with what must be so when they come back. `wanted` is the sign-in that is needed.

    Spec: RFC 6749 §4.1.1
    Spec: RFC 7636 §4.3
    Spec: RFC 8707 §2.1
    Spec: RFC 9449 §10
    Spec: RFC 9470 §4
    """
    query: Form = (
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", redirect_uri),
        ("resource", indicator),
        *scope_form(scopes),
        ("state", state),
        ("code_challenge", code_challenge(verifier.reveal())),
        ("code_challenge_method", CHALLENGE_METHOD),
        *(() if proof_thumbprint is None else (("dpop_jkt", proof_thumbprint),)),
        *_wanted_form(wanted),
    )
    mark = "&" if "?" in metadata.authorization_endpoint else "?"
    return AuthorizationRequest(
        url=f"{metadata.authorization_endpoint}{mark}{urlencode(query)}",
        redirect_uri=redirect_uri,
        indicator=indicator,
        verifier=verifier,
        expected=ExpectedAnswer(issuer=metadata.issuer, state=state, promises_issuer=metadata.promises_issuer),
    )


def _wanted_form(wanted: AuthenticationWanted | None) -> Form:
    if wanted is None:
        return ()
    age = () if wanted.max_age is None else (("max_age", str(wanted.max_age)),)
    return (*age, *((("acr_values", " ".join(wanted.acr_values)),) if wanted.acr_values else ()))


def redeem_form(code: str, request: AuthorizationRequest) -> Form:
    """Spec: RFC 6749 §4.1.3, RFC 7636 §4.5."""
    return (
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", request.redirect_uri),
        ("code_verifier", request.verifier.reveal()),
        ("resource", request.indicator),
    )


def refresh_form(refresh_token: Secret, indicator: str) -> Form:
    """The scopes stay as they are. Spec: RFC 6749 §6, RFC 8707 §2.2."""
    return (
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.reveal()),
        ("resource", indicator),
    )
