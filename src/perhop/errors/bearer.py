"""What is wrong with a token, wherever one is taken.

Spec: RFC 6750 §3.1
"""

from __future__ import annotations

from perhop.errors.root import Refused


class BearerRefused(Refused):
    """The presented token is not good here. Spec: RFC 6750 §3.1."""

    status = 401
    error = "invalid_token"
    description = "the access token is not valid here"


class TokenMissing(BearerRefused):
    """No token came: a challenge without `error`. Spec: RFC 6750 §3."""

    reason = "token.malformed"
    description = "an access token is required"


class TokenMalformed(BearerRefused):
    reason = "token.malformed"


class TokenSignatureInvalid(BearerRefused):
    reason = "token.signature"


class TokenKeyUnknown(TokenSignatureInvalid):
    """The `kid` names no key that we hold; a verifier may look once for newer keys."""


class TokenTypeWrong(BearerRefused):
    reason = "token.type"


class TokenIssuerUnknown(BearerRefused):
    reason = "token.issuer"


class TokenLifetimeTooLong(BearerRefused):
    reason = "token.lifetime"


class TokenNotYetValid(BearerRefused):
    """`iat` or `nbf` lies further ahead than clocks may differ."""

    reason = "token.lifetime"


class TokenExpired(BearerRefused):
    """`jti` is the token's, where its signature held: an expired token still says whose it is."""

    reason = "token.expired"

    def __init__(self, detail: str = "", *, jti: str | None = None) -> None:
        super().__init__(detail)
        self.jti = jti


class TokenRevoked(BearerRefused):
    reason = "token.revoked"


class AudienceMissing(BearerRefused):
    reason = "audience.missing"


class AudienceMismatch(BearerRefused):
    reason = "audience.mismatch"


class AudienceMultiple(BearerRefused):
    reason = "audience.multiple"


class CallMismatch(BearerRefused):
    """The token is bound to one call, and this is not shown to be that call."""

    reason = "call.mismatch"


class TokenReplayed(BearerRefused):
    """The token is good for one call, and was used, or may have been before this process began."""

    reason = "token.replayed"


class AgentDisabled(BearerRefused):
    reason = "client.disabled"


class AgentExpired(BearerRefused):
    reason = "client.expired"


class ScopeInsufficient(BearerRefused):
    """The token lacks the scope that this call needs; `scope` goes into the challenge. Spec: RFC 6750 §3.1."""

    status = 403
    error = "insufficient_scope"
    description = "the access token lacks a scope that this call needs"
    reason = "scope.insufficient"

    def __init__(self, scope: str, detail: str = "") -> None:
        super().__init__(detail)
        self.scope = scope
