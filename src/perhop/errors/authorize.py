"""What the authorization endpoint and its pages say no with.

Spec: RFC 6749 §4.1.2.1
"""

from __future__ import annotations

from perhop.errors.root import Refused


class AuthorizeRefused(Refused):
    """Sent back to the redirect URI, with `iss`. Spec: RFC 6749 §4.1.2.1, RFC 9207 §2."""


class AuthorizeRequestMalformed(AuthorizeRefused):
    description = "the request is not valid"


class ResponseTypeUnsupported(AuthorizeRefused):
    error = "unsupported_response_type"
    description = "the response type is not supported"


class AuthorizeClientNotAllowed(AuthorizeRefused):
    error = "unauthorized_client"
    description = "the client may not ask for this"
    reason = "presenter.mismatch"


class ConsentDenied(AuthorizeRefused):
    error = "access_denied"
    description = "access was denied"
    reason = "policy.denied"


class LoginRequired(AuthorizeRefused):
    """Nobody is signed in as it is wanted, and nothing may be shown. Spec: OpenID Connect Core 1.0 §3.1.2.6."""

    error = "login_required"
    description = "the person has to sign in"
    reason = "client.authentication"


class ConsentRequired(AuthorizeRefused):
    """The person would have to be asked, and nothing may be shown. Spec: OpenID Connect Core 1.0 §3.1.2.6."""

    error = "consent_required"
    description = "the person has to be asked"
    reason = "policy.denied"


class AuthenticationUnmet(AuthorizeRefused):
    """The person signed in, and not in one of the ways that are wanted.

    Spec: RFC 9470 §5
    """

    error = "unmet_authentication_requirements"
    description = "the person cannot be signed in as it is wanted"
    reason = "client.authentication"


class SignInFailed(Refused):
    """Wrong e-mail address or password, or an account that may not sign in here: one answer for all."""

    description = "the e-mail address or the password is wrong"
    reason = "client.authentication"


class RedirectRefused(Refused):
    """Client or redirect URI is unknown: shown to the person, never redirected. Spec: RFC 6749 §4.1.2.1."""

    description = "the application or its redirect address is not known here"
    reason = "client.authentication"
