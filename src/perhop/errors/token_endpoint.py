"""What the token and revocation endpoints say no with.

Spec: RFC 6749 §5.2
Spec: RFC 8693 §2.2.2
Spec: RFC 8707 §2
"""

from __future__ import annotations

from perhop.errors.root import Refused


class TokenRefused(Refused):
    """The token endpoint says no. Spec: RFC 6749 §5.2."""

    description = "the request is not valid"


class TokenRequestMalformed(TokenRefused):
    """A parameter is missing, repeated or unusable."""


class ReportsMalformed(TokenRefused):
    """What a server sent as its reports cannot be read."""


class ClientAuthenticationFailed(TokenRefused):
    status = 401
    error = "invalid_client"
    description = "client authentication failed"
    reason = "client.authentication"


class AssertionReplayed(ClientAuthenticationFailed):
    reason = "assertion.replayed"


class ClientDisabled(ClientAuthenticationFailed):
    reason = "client.disabled"


class ClientExpired(ClientAuthenticationFailed):
    reason = "client.expired"


class GrantTypeUnsupported(TokenRefused):
    error = "unsupported_grant_type"
    description = "the grant type is not supported"


class GrantTypeNotAllowed(TokenRefused):
    error = "unauthorized_client"
    description = "the client may not use this grant type"
    reason = "presenter.mismatch"


class CodeInvalid(TokenRefused):
    error = "invalid_grant"
    description = "the authorization code is not valid"


class CodeReplayed(CodeInvalid):
    reason = "code.replayed"


class CodeOfTaskOver(CodeInvalid):
    """The task that the code was given for is over; carries the reason."""

    def __init__(self, fact: Refused) -> None:
        super().__init__(fact.detail)
        self.fact = fact


class RefreshInvalid(TokenRefused):
    """The refresh token is not known, or what it stands for holds no longer. Spec: RFC 6749 §5.2."""

    error = "invalid_grant"
    description = "the refresh token is not valid"


class RefreshOfAnother(RefreshInvalid):
    """It was given to another client. Spec: RFC 6749 §6."""

    reason = "presenter.mismatch"


class RefreshReused(RefreshInvalid):
    """It was used before: somebody has a copy, or its client sent it twice. Spec: RFC 9700 §4.14.2."""

    reason = "refresh.reused"


class RefreshRevoked(RefreshInvalid):
    reason = "token.revoked"


class RefreshExpired(RefreshInvalid):
    reason = "token.expired"


class RefreshOfTaskOver(RefreshInvalid):
    """The task that its family is for is over; carries the reason."""

    def __init__(self, fact: Refused) -> None:
        super().__init__(fact.detail)
        self.fact = fact


class AssertionInvalid(TokenRefused):
    """The assertion does not say what this request needs. Spec: RFC 7521 §4.1.1."""

    error = "invalid_grant"
    description = "the assertion is not valid"
    reason = "token.malformed"


class AssertionRefused(AssertionInvalid):
    """The assertion is not good here; carries the reason of the fact that said so. Spec: RFC 7521 §4.1.1."""

    def __init__(self, fact: Refused) -> None:
        super().__init__(fact.detail)
        self.fact = fact


class AssertionOfAnother(AssertionInvalid):
    """It was made for another client, or no rule gives its workload anything."""

    reason = "presenter.mismatch"


class AssertionOfAnotherResource(AssertionInvalid):
    """The request names another resource than the assertion. Spec: RFC 8707 §2.2."""

    reason = "audience.mismatch"


class AssertionSpent(AssertionInvalid):
    """It was used before. Spec: RFC 7523 §3."""

    reason = "assertion.replayed"


class AssertionRevoked(AssertionInvalid):
    """What it stands for was revoked after it was made."""

    reason = "token.revoked"


class TargetInvalid(TokenRefused):
    """The resource is missing, unknown, or given twice. Spec: RFC 8707 §2."""

    error = "invalid_target"
    description = "the resource is not valid"
    reason = "audience.mismatch"


class TargetMissing(TargetInvalid):
    reason = "audience.missing"


class TargetMultiple(TargetInvalid):
    reason = "audience.multiple"


class HopUnknown(TargetInvalid):
    reason = "hop.unknown"


class TargetForbidden(TargetInvalid):
    """Policy forbids it; the wire does not tell that from an unknown resource."""

    reason = "policy.denied"


class TargetUndecidable(TargetInvalid):
    reason = "policy.error"


class ScopeInvalid(TokenRefused):
    error = "invalid_scope"
    description = "the scope is not valid"
    reason = "scope.insufficient"


class SubjectTokenRefused(TokenRefused):
    """The subject token is not good; carries the reason of the fact that said so. Spec: RFC 8693 §2.2.2."""

    description = "the subject token is not valid"

    def __init__(self, fact: Refused) -> None:
        super().__init__(fact.detail)
        self.fact = fact


class TaskRequestMalformed(TokenRefused):
    """What is said of a new task cannot be read, or is beyond a bound."""


class TooManyTasks(TokenRefused):
    """A client has more tasks than are kept; or one that proves nothing has begun many that nobody has approved."""

    status = 429
    error = "temporarily_unavailable"
    description = "too many tasks were begun"
    reason = "limit.exceeded"


class TooManyRequests(TokenRefused):
    """An address or a client asks more often than `limits` lets it; `retry_after` is in seconds. Spec: RFC 6585 §4."""

    status = 429
    error = "temporarily_unavailable"
    description = "too many requests: wait, and repeat this one"
    reason = "limit.exceeded"

    def __init__(self, detail: str = "", *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class DetailsMalformed(TokenRefused):
    """`authorization_details` is not exactly one task, named by its id. Spec: RFC 9396 §5."""

    error = "invalid_authorization_details"
    description = "the authorization details are not valid"


class TaskRefused(TokenRefused):
    """The task that a request names is not one to get a token under; carries the reason. Spec: RFC 9396 §5."""

    error = "invalid_authorization_details"
    description = "the authorization details are not valid"

    def __init__(self, fact: Refused) -> None:
        super().__init__(fact.detail)
        self.fact = fact


class TargetOutsideTask(TargetInvalid):
    """The task that the request names does not name the resource."""

    reason = "task.outside"


class PresenterMismatch(TokenRefused):
    """The presenter is not the one whom the subject token addresses, or `may_act` names another."""

    reason = "presenter.mismatch"
    description = "the subject token is not valid"


class ChainTooDeep(TokenRefused):
    reason = "chain.depth"
    description = "the subject token is not valid"


class ChainCycle(TokenRefused):
    reason = "chain.cycle"
    description = "the subject token is not valid"


class RevocationNotAllowed(TokenRefused):
    """The token is another client's. Spec: RFC 7009 §2.1."""

    error = "unauthorized_client"
    description = "the client may not revoke this token"
    reason = "presenter.mismatch"
