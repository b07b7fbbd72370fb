"""What our own client found when it asked for a token, and would not go on with."""

from __future__ import annotations

from perhop.errors.operator import OperatorError


class ResourceForeign(OperatorError):
    """Metadata that is not of the server that was called. Spec: RFC 9728 §3.3."""


class ResourceUndescribed(OperatorError):
    """The server says nowhere which authorization server issues its tokens. Spec: RFC 9728 §3."""

    exit_code = 5


class PkceUnsupported(OperatorError):
    """The authorization server does not say that it takes S256, so no code is asked for. Spec: RFC 7636 §4.2."""


class RegistrationImpossible(OperatorError):
    """No client of ours is known to this authorization server, and it takes none that is new."""

    exit_code = 4


class StateMismatch(OperatorError):
    """An answer to another authorization request than ours. Spec: RFC 6749 §10.12."""


class IssuerMismatch(OperatorError):
    """The answer comes from another authorization server than the one that was asked. Spec: RFC 9207 §2.4."""


class AuthorizationAnswerMalformed(OperatorError):
    """What came back from the authorization endpoint is no answer."""


class AuthorizationNotGranted(OperatorError):
    """The person or the authorization server said no; `error` is its code. Spec: RFC 6749 §4.1.2.1."""

    exit_code = 3

    def __init__(self, error: str) -> None:
        super().__init__(f"the authorization server did not let this client in: `{error}`")
        self.error = error


class BrowserUnavailable(OperatorError):
    """There is no browser to sign in with, or nobody came back from it in time."""

    exit_code = 4


class SenderConstraintMissing(OperatorError):
    """A token that is bound to our key was asked for, and another one came. Spec: RFC 9449 §5."""
