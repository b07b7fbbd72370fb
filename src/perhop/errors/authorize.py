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


class SignInFailed(Refused):
    """Wrong e-mail address or password, or an account that may not sign in here: one answer for all."""

    description = "the e-mail address or the password is wrong"
    reason = "client.authentication"


class RedirectRefused(Refused):
    """Client or redirect URI is unknown: shown to the person, never redirected. Spec: RFC 6749 §4.1.2.1."""

    description = "the application or its redirect address is not known here"
    reason = "client.authentication"
